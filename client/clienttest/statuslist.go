package clienttest

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// What the daemon has as well, but for the length of a list, which is short here.
const (
	statusTTL  = 15 * time.Minute
	statusLife = 72 * time.Hour
	listLength = 1024
)

// statusList is one list as it was signed last.
type statusList struct {
	id    string
	order []uint32 // in which its places are given

	says string // compressed
	key  string // that signed it
	at   time.Time
	raw  string
}

func newStatusList(n int) (*statusList, error) {
	var seed [license.StatusSeedLen]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	return &statusList{id: fmt.Sprintf("list-%d", n+1), order: license.StatusOrder(seed, listLength)}, nil
}

func statusURI(list string) string {
	return Issuer + strings.Replace(wire.PathStatus, "{list}", list, 1)
}

// list signs a list as it stands at now, unless that was done. Its date always
// grows with what it says: of two lists of one date a client keeps the first.
func (b *book) list(id string, now time.Time) (string, error) {
	var l *statusList
	for _, known := range b.lists {
		if known.id == id {
			l = known
		}
	}
	if l == nil {
		return "", license.Errorf(license.NotFound, "there is no such status list")
	}
	statuses := token.NewStatuses(listLength)
	for _, e := range b.licenses {
		for _, i := range e.installs {
			if i.Status.List == id {
				statuses.Set(i.Status.Index, license.StatusOf(e.license, i, e.undo).At(now))
			}
		}
	}
	says := statuses.Compress()
	same := says == l.says && b.key.ID == l.key
	if same && now.Sub(l.at) < statusTTL {
		return l.raw, nil
	}
	at := now
	if !at.After(l.at) && !l.at.IsZero() {
		at = l.at.Add(time.Second)
	}
	raw, err := token.SignStatusList(token.StatusList{
		Issuer: Issuer, URI: statusURI(id), IssuedAt: at, ExpiresAt: at.Add(statusLife), TTL: statusTTL, List: says,
	}, b.key)
	if err != nil {
		return "", err
	}
	l.says, l.key, l.at, l.raw = says, b.key.ID, at, raw
	return raw, nil
}
