package authority_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

const (
	valid     = license.StatusValid
	revoked   = license.StatusRevoked
	suspended = license.StatusSuspended
)

// publish has the lists published and returns when they are looked at again.
func (w *world) publish() time.Duration {
	w.t.Helper()
	wait, err := w.a.Publish(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return wait
}

// list is a published list, verified as a client does.
func (w *world) list(id string) token.StatusList {
	w.t.Helper()
	raw, err := w.a.StatusList(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	set, err := token.VerifyKeySet(w.ring.KeySet().Raw, w.ring.Anchors())
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := token.VerifyStatusList(raw.Token, set, token.ExpectStatusList{Issuer: issuer, URI: issuer + "/v1/status/" + id})
	if err != nil {
		w.t.Fatal(err)
	}
	if l.TTL != 15*time.Minute || !l.ExpiresAt.Equal(l.IssuedAt.Add(72*time.Hour)) || l.Len() != license.StatusListLength {
		w.t.Errorf("the list has ttl %s, life %s, %d places", l.TTL, l.ExpiresAt.Sub(l.IssuedAt), l.Len())
	}
	return l
}

// listID is the list that an install's licence names.
func (i *install) listID() string {
	i.w.t.Helper()
	id, ok := strings.CutPrefix(i.held.Status.URI, issuer+"/v1/status/")
	if !ok || !strings.HasPrefix(id, "sl_") {
		i.w.t.Fatalf("the licence names the list %q", i.held.Status.URI)
	}
	return id
}

// listed is what the published list says of an install.
func (i *install) listed() license.ListStatus {
	i.w.t.Helper()
	status, ok := i.w.list(i.listID()).At(i.held.Status.Index)
	if !ok {
		i.w.t.Fatalf("index %d is beyond the end", i.held.Status.Index)
	}
	return status
}

// wantListed publishes and checks what is said of installs, and that all lists
// agree with all facts.
func (w *world) wantListed(what string, want license.ListStatus, installs ...*install) {
	w.t.Helper()
	if wait := w.publish(); wait <= time.Second && w.agree() != nil { // this second has had its lists
		w.pass(wait)
		w.publish()
	}
	for _, i := range installs {
		if got := i.listed(); got != want {
			w.t.Errorf("%s: %s is listed as %d, want %d", what, i.machine, got, want)
		}
	}
	if err := w.agree(); err != nil {
		w.t.Errorf("%s: %v", what, err)
	}
}

// agree compares every published list with all facts, both ways, and makes
// sure that no place was given twice.
func (w *world) agree() error {
	all, _, err := w.a.Licenses(w.t.Context(), authority.Filter{}, authority.Page{Limit: store.MaxPage})
	if err != nil {
		return err
	}
	want := make(map[license.StatusRef]license.ListStatus)
	for _, l := range all {
		for _, i := range l.Installs {
			if i.Status == (license.StatusRef{}) {
				continue
			}
			if _, twice := want[i.Status]; twice {
				return fmt.Errorf("place %+v was given twice", i.Status)
			}
			want[i.Status] = license.StatusOf(l.License, i, day).At(w.clock())
		}
	}
	var records []license.StatusList
	err = w.store.View(w.t.Context(), func(ctx context.Context, tx store.Tx) error {
		records, err = tx.StatusLists(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, record := range records {
		l, err := w.published(record.ID)
		if err != nil {
			return err
		}
		facts := make([]license.ListStatus, l.Len()) // valid where no install is
		for ref, status := range want {
			if ref.List == record.ID && ref.Index < len(facts) {
				facts[ref.Index] = status
			}
		}
		for index, status := range facts {
			if got, _ := l.At(index); got != status {
				return fmt.Errorf("place %d of %s is listed as %d, and the facts say %d", index, record.ID, got, status)
			}
		}
	}
	return nil
}

// shortList is a published list of any length.
func (w *world) shortList(id string) token.StatusList {
	w.t.Helper()
	l, err := w.published(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// published is that list, verified; the one that was verified last need not be
// verified again.
func (w *world) published(id string) (token.StatusList, error) {
	raw, err := w.a.StatusList(w.t.Context(), id)
	if err != nil {
		return token.StatusList{}, err
	}
	set := w.ring.KeySet()
	if known := w.lists[id]; known.list.Raw == raw.Token && known.under == set.Raw {
		return known.list, nil
	}
	l, err := token.VerifyStatusList(raw.Token, set, token.ExpectStatusList{})
	if err != nil {
		return token.StatusList{}, err
	}
	w.lists[id] = verifiedList{l, set.Raw}
	return l, nil
}

type verifiedList struct {
	list  token.StatusList
	under string // the key set
}
