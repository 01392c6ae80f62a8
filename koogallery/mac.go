package koogallery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// callbackMAC computes callback signatures with one access key. Keyed hashes
// are pooled: setting one up costs as much as using it.
type callbackMAC struct {
	key string
	id  [sha256.Size]byte // stands for the key in replay identities
	use sync.Pool         // of *macState
}

type macState struct {
	hash hash.Hash
	sum  [sha256.Size]byte
	buf  []byte
}

func newCallbackMAC(key AccessKey) *callbackMAC {
	m := &callbackMAC{key: key.Reveal()}
	m.use.New = func() any { return &macState{hash: hmac.New(sha256.New, []byte(m.key))} }
	h := hmac.New(sha256.New, []byte(m.key))
	h.Write([]byte("koogallery replay identity v1"))
	h.Sum(m.id[:0])
	return m
}

// sign computes
//
//	HMAC(key, key + nonce + timestamp + lower(hex(HMAC(key, payload))))
//
// into dst (access guide …649248; the parts follow each other without a
// separator).
func (m *callbackMAC) sign(dst *[sha256.Size]byte, nonce, timestamp string, payload []byte) {
	st := m.use.Get().(*macState)
	defer m.use.Put(st)
	st.hash.Reset()
	st.hash.Write(payload)
	inner := st.hash.Sum(st.sum[:0])

	st.buf = append(st.buf[:0], m.key...)
	st.buf = append(st.buf, nonce...)
	st.buf = append(st.buf, timestamp...)
	st.buf = hex.AppendEncode(st.buf, inner)

	st.hash.Reset()
	st.hash.Write(st.buf)
	st.hash.Sum(dst[:0])
}
