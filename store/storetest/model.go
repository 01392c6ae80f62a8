package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// state is what a store should hold, as plain maps. It knows the contract and
// nothing of any backend.
type state struct {
	licenses map[string]license.License
	codes    map[string]string
	installs map[[2]string]license.Install
	events   []license.AuditEvent
	pending  map[string]license.Pending
	marks    map[string]bool
	values   map[string]string
	lists    map[string]license.StatusList
	statuses map[string]license.ListStatus // by list and index
	jobs     map[string]license.Job
	orders   map[[3]string]license.Order // by channel, id and line
}

func (s state) clone() state {
	return state{
		maps.Clone(s.licenses), maps.Clone(s.codes), maps.Clone(s.installs), slices.Clone(s.events),
		maps.Clone(s.pending), maps.Clone(s.marks), maps.Clone(s.values),
		maps.Clone(s.lists), maps.Clone(s.statuses), maps.Clone(s.jobs), maps.Clone(s.orders),
	}
}

// command is one call on a Tx and on the model, which must agree on the reason.
type command struct {
	name  string
	real  func(ctx context.Context, tx store.Tx) error
	ideal func(s *state) license.Reason
}

// Few names, so that commands meet.
var (
	drawID      = rapid.SampledFrom([]string{"lic_a", "lic_B", "lic_ä", "lic_a1"})
	drawInstall = rapid.SampledFrom([]string{"x", "Y", "xy"})
	drawName    = rapid.SampledFrom([]string{"n", "m"})
)

func drawCommand(t *rapid.T) command {
	id, install, name := drawID.Draw(t, "id"), drawInstall.Draw(t, "install"), drawName.Draw(t, "name")
	n := rapid.IntRange(0, 3).Draw(t, "n")
	switch kind := rapid.IntRange(0, 18).Draw(t, "kind"); kind {
	case 0:
		return createLicense(id, name)
	case 1, 2:
		return updateLicense(id, n)
	case 3:
		return createInstall(id, install)
	case 4:
		return updateInstall(id, install, n)
	case 5:
		return appendEvent(id)
	case 6:
		return setPending(name, id, n)
	case 7:
		return markSeen(name, n)
	case 8:
		return putList(name, n)
	case 9:
		return putStatus(name, n, license.ListStatus(rapid.IntRange(0, 2).Draw(t, "status")))
	case 10:
		return setValue(name, n)
	case 11:
		return modelOrder(drawOrder.Draw(t, "order"), n)
	case 12:
		return modelRenameOrder(drawOrder.Draw(t, "order"), drawOrder.Draw(t, "renamed")[2])
	default:
		return drawJobCommand(t, n)
	}
}

func createLicense(id, code string) command {
	l := newLicense(id)
	l.Code.Index = []byte(code)
	return command{
		"create " + id,
		func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, l) },
		func(s *state) license.Reason {
			if _, ok := s.licenses[id]; ok || s.codes[code] != "" {
				return store.Exists
			}
			s.licenses[id], s.codes[code] = stored(l, 1), id
			return ""
		},
	}
}

// updateLicense reads, changes and writes; every fourth time an old copy.
func updateLicense(id string, n int) command {
	change := func(l license.License) license.License {
		l.Customer = fmt.Sprint(n)
		if n == 3 {
			l.Revision--
		}
		return l
	}
	return command{
		fmt.Sprintf("update %s to %d", id, n),
		func(ctx context.Context, tx store.Tx) error {
			l, err := tx.License(ctx, id)
			if err != nil {
				return err
			}
			return tx.UpdateLicense(ctx, change(l))
		},
		func(s *state) license.Reason {
			l, ok := s.licenses[id]
			switch {
			case !ok:
				return license.NotFound
			case n == 3:
				return license.Conflict
			}
			l = change(l)
			l.Revision++
			s.licenses[id] = l
			return ""
		},
	}
}

func createInstall(id, install string) command {
	i := newInstall(id, install)
	return command{
		"create " + id + "/" + install,
		func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, i) },
		func(s *state) license.Reason {
			if _, ok := s.licenses[id]; !ok {
				return license.NotFound
			}
			key := [2]string{id, install}
			if _, ok := s.installs[key]; ok {
				return store.Exists
			}
			i := i.Clone()
			i.Revision = 1
			s.installs[key] = i
			return ""
		},
	}
}

func updateInstall(id, install string, n int) command {
	i := newInstall(id, install)
	i.Seat = fmt.Sprint(n)
	i.Revision = int64(n)
	return command{
		fmt.Sprintf("update %s/%s from %d", id, install, n),
		func(ctx context.Context, tx store.Tx) error { return tx.UpdateInstall(ctx, i) },
		func(s *state) license.Reason {
			key := [2]string{id, install}
			old, ok := s.installs[key]
			switch {
			case !ok:
				return license.NotFound
			case old.Revision != i.Revision:
				return license.Conflict
			}
			i := i.Clone()
			i.Revision++
			s.installs[key] = i
			return ""
		},
	}
}

func appendEvent(id string) command {
	return command{
		"append",
		func(ctx context.Context, tx store.Tx) error {
			_, err := tx.Append(ctx, newEvent(license.ActionRenew, id))
			return err
		},
		func(s *state) license.Reason {
			e := newEvent(license.ActionRenew, id)
			e.Seq = int64(len(s.events) + 1)
			s.events = append(s.events, e)
			return ""
		},
	}
}

func setPending(channel, index string, n int) command {
	p := license.Pending{Channel: channel, CodeIndex: []byte(index), Messages: n, FirstAt: base, LastAt: base}
	return command{
		fmt.Sprintf("pending %s %s %d", channel, index, n),
		func(ctx context.Context, tx store.Tx) error {
			if n == 0 {
				return tx.DeletePending(ctx, channel, p.CodeIndex)
			}
			return tx.PutPending(ctx, p)
		},
		func(s *state) license.Reason {
			delete(s.pending, channel+index)
			if n > 0 {
				s.pending[channel+index] = p
			}
			return ""
		},
	}
}

func markSeen(key string, n int) command {
	until := base.Add(time.Duration(n) * time.Minute)
	return command{
		fmt.Sprintf("mark %s %d", key, n),
		func(ctx context.Context, tx store.Tx) error { return tx.MarkSeen(ctx, []byte(key), until, base) },
		func(s *state) license.Reason {
			if s.marks[until.String()+key] {
				return store.Exists
			}
			s.marks[until.String()+key] = true
			return ""
		},
	}
}

func setValue(name string, n int) command {
	var value []byte
	if n > 0 {
		value = []byte(fmt.Sprint(n))
	}
	return command{
		fmt.Sprintf("set %s to %q", name, value),
		func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, name, value) },
		func(s *state) license.Reason {
			delete(s.values, name)
			if value != nil {
				s.values[name] = string(value)
			}
			return ""
		},
	}
}

func putList(id string, n int) command {
	l := newList(id)
	l.Next = n
	return command{
		fmt.Sprintf("list %s next %d", id, n),
		func(ctx context.Context, tx store.Tx) error { return tx.PutStatusList(ctx, l) },
		func(s *state) license.Reason {
			s.lists[id] = l
			return ""
		},
	}
}

func putStatus(list string, index int, status license.ListStatus) command {
	return command{
		fmt.Sprintf("status %d of %s to %d", index, list, status),
		func(ctx context.Context, tx store.Tx) error {
			return tx.PutStatusEntry(ctx, list, license.StatusEntry{Index: index, Status: status})
		},
		func(s *state) license.Reason {
			if _, ok := s.lists[list]; !ok {
				return license.NotFound
			}
			key := fmt.Sprint(list, " ", index)
			delete(s.statuses, key)
			if status != license.StatusValid {
				s.statuses[key] = status
			}
			return ""
		},
	}
}

// model runs random transactions, some of which fail at the end, against a
// store and a model of it.
func (s suite) model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		open := s.create(t)
		st, err := open()
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = st.Close() }()
		ideal := state{
			map[string]license.License{},
			map[string]string{},
			map[[2]string]license.Install{},
			nil,
			map[string]license.Pending{},
			map[string]bool{},
			map[string]string{},
			map[string]license.StatusList{},
			map[string]license.ListStatus{},
			map[string]license.Job{},
			map[[3]string]license.Order{},
		}
		for range rapid.IntRange(1, 8).Draw(rt, "transactions") {
			commands := make([]command, rapid.IntRange(1, 8).Draw(rt, "commands"))
			for i := range commands {
				commands[i] = drawCommand(rt)
			}
			fails := rapid.IntRange(0, 3).Draw(rt, "fails") == 0
			ideal = transact(t.Context(), rt, st, ideal, commands, fails)
			compare(t.Context(), rt, st, ideal)
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
		if st, err = open(); err != nil {
			rt.Fatal(err)
		}
		compare(t.Context(), rt, st, ideal)
	})
}

// transact runs commands in one transaction and returns the state after it.
// A refused command leaves the transaction usable.
func transact(ctx context.Context, t *rapid.T, st store.Store, before state, commands []command, fails bool) state {
	var after state
	err := st.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		after = before.clone()
		for _, c := range commands {
			want := c.ideal(&after)
			if err := c.real(ctx, tx); license.ReasonOf(err) != want {
				return fmt.Errorf("%s: want reason %q, got %w", c.name, string(want), err)
			}
		}
		if fails {
			return errRefused
		}
		return nil
	})
	switch {
	case fails && errors.Is(err, errRefused):
		return before
	case err != nil:
		t.Fatal(err)
	}
	return after
}

// compare reads everything that can be listed or was ever named.
func compare(ctx context.Context, t *rapid.T, st store.Store, want state) {
	err := st.View(ctx, func(ctx context.Context, tx store.Tx) error {
		got := state{
			map[string]license.License{},
			map[string]string{},
			map[[2]string]license.Install{},
			nil,
			map[string]license.Pending{},
			want.marks,
			map[string]string{},
			map[string]license.StatusList{},
			map[string]license.ListStatus{},
			map[string]license.Job{},
			map[[3]string]license.Order{},
		}
		if err := errors.Join(got.readJobs(ctx, tx), compareTurns(ctx, tx, want)); err != nil {
			return err
		}
		lists, err := tx.StatusLists(ctx)
		if err != nil {
			return err
		}
		for _, l := range lists {
			got.lists[l.ID] = l
			entries, err := tx.StatusEntries(ctx, l.ID)
			if err != nil {
				return err
			}
			for _, e := range entries {
				got.statuses[fmt.Sprint(l.ID, " ", e.Index)] = e.Status
			}
		}
		list, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{})
		if err != nil {
			return err
		}
		for _, l := range list {
			got.licenses[l.ID] = l
			installs, err := tx.Installs(ctx, l.ID)
			if err != nil {
				return err
			}
			for _, i := range installs {
				got.installs[[2]string{l.ID, i.ID}] = i
			}
		}
		if got.events, _, err = tx.Events(ctx, store.EventFilter{}, store.Page{Limit: store.MaxPage}); err != nil {
			return err
		}
		for _, name := range []string{"n", "m"} {
			if l, err := tx.LicenseByCode(ctx, []byte(name)); err == nil {
				got.codes[name] = l.ID
			}
			if v, err := tx.Value(ctx, name); err == nil {
				got.values[name] = string(v)
			}
			for _, id := range []string{"lic_a", "lic_B", "lic_ä", "lic_a1"} {
				if p, err := tx.Pending(ctx, name, []byte(id)); err == nil {
					got.pending[name+id] = p
				}
			}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(state{}, license.Feature{})); diff != "" {
			return fmt.Errorf("the store differs from the model (-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
