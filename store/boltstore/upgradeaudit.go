package boltstore

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"

	"github.com/seed-357fa782/licensed/license"
)

// maxUnreadable is how many bytes are kept of an entry that cannot be read.
const maxUnreadable = 16 << 10

// chainAudit is the step of an upgrade that makes a chain of the audit log. The
// head that a batch begins with is that of the last line before it.
//
// An entry that cannot be read has no content that could be sealed, and the chain
// cannot leave it out: a line with its bytes takes its place. Where entries are
// missing the chain goes on, and is found to miss them.
func chainAudit(b *buckets, after []byte) (convert, error) {
	head, err := chainedTo(b, after)
	if err != nil {
		return nil, err
	}
	return func(key, raw []byte, put putFunc) error {
		seq := seqOf(key)
		if seq <= head.Seq {
			return errUnreadable // no position
		}
		head.Seq = seq - 1
		var e license.AuditEvent
		bad := decode(bucketAudit, key, raw, &e) != nil || e.Seq != seq
		if bad {
			e = unreadableEvent(raw)
		}
		line, next, err := seal(head, e)
		if err != nil && !bad { // it reads as an event and cannot be written as one
			line, next, err = seal(head, unreadableEvent(raw))
		}
		if err != nil {
			return err
		}
		put(bucketAudit, bytes.Clone(key), line)
		head = next
		return nil
	}, nil
}

// chainedTo is the head of what has been chained, up to a key.
func chainedTo(b *buckets, after []byte) (license.AuditHead, error) {
	if after == nil {
		return license.AuditHead{}, nil
	}
	c := b.get(bucketAudit).Cursor()
	for key, raw := c.Seek(after); key != nil; key, raw = c.Prev() {
		if seqOf(key) < 1 {
			continue // left as it is
		}
		line, err := parseLine(key, raw)
		return line.Head(), err
	}
	return license.AuditHead{}, nil
}

func unreadableEvent(raw []byte) license.AuditEvent {
	return license.AuditEvent{
		Actor: license.Actor{Kind: license.ActorSystem, Name: "upgrade"}, Action: license.ActionUnreadable,
		After: map[string]any{"record": base64.StdEncoding.EncodeToString(raw[:min(len(raw), maxUnreadable)]), "bytes": len(raw)},
	}
}

// seal seals an event under a salt of its own.
func seal(head license.AuditHead, e license.AuditEvent) (line []byte, next license.AuditHead, err error) {
	var salt [license.AuditSaltLen]byte
	_, _ = rand.Read(salt[:]) // never fails
	return head.Seal(e, salt[:])
}
