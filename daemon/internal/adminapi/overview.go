package adminapi

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// Bounds of what needs a human.
const (
	keysSoon    = 90 * 24 * time.Hour // before the end of a key, or of the key set
	diskFail    = 100 << 20           // bytes that are free
	diskWarn    = 1 << 30
	clocksApart = 5 * time.Second // of daemons on one store
	forkDays    = 7               // within which signs of copies are news
)

func (s *server) overview(ctx context.Context, _ *empty) (*body[adminwire.Overview], error) {
	st := s.scoped(ctx, s.status(ctx))
	c, err := s.a.Census(ctx)
	if err != nil {
		return nil, err
	}
	out := adminwire.Overview{Now: st.Now, Marketplaces: st.Marketplaces, Census: shownCensus(c)}
	a := attention{st: st, list: []adminwire.Attention{}}
	a.service()
	a.machine()
	a.others()
	a.licences(c)
	if who := authority.CallOf(ctx); who == nil || !who.Principal.Scoped() {
		jobs, err := s.a.CountJobs(ctx)
		if err != nil {
			return nil, err
		}
		a.parked(jobs.Parked)
	}
	rank := []string{adminwire.LevelFail, adminwire.LevelWarn, adminwire.LevelNote}
	slices.SortStableFunc(a.list, func(x, y adminwire.Attention) int {
		return cmp.Compare(slices.Index(rank, x.Level), slices.Index(rank, y.Level))
	})
	out.Attention = a.list
	return &body[adminwire.Overview]{out}, nil
}

// shownCensus gives a census its form, nil where nothing was counted yet.
func shownCensus(c authority.Census) *adminwire.Census {
	if c.At.IsZero() {
		return nil
	}
	out := &adminwire.Census{CountedAt: c.At, Products: []adminwire.ProductCensus{}, Days: make([]adminwire.CensusDay, 0, len(c.Days))}
	var all authority.ProductCount
	for _, name := range slices.Sorted(maps.Keys(c.Products)) {
		all = all.Add(c.Products[name])
		out.Products = append(out.Products, shownCount(name, c.Products[name]))
	}
	out.Total = shownCount("", all)
	for _, d := range c.Days {
		out.Days = append(out.Days, adminwire.CensusDay{Day: d.Day, Activated: d.Activated, Bound: d.Bound, Forks: d.Forks})
	}
	return out
}

func shownCount(product string, n authority.ProductCount) adminwire.ProductCensus {
	out := adminwire.ProductCensus{
		Product: product, Licenses: n.Total(), States: n.States, Trials: n.Trials,
		Ending: adminwire.Ending{Within7: n.Ending[0], Within30: n.Ending[1], Within90: n.Ending[2]},
	}
	if out.States == nil {
		out.States = map[license.State]int{}
	}
	return out
}

// attention collects what needs a human, by what a status says that leaves out what the
// caller is not to see.
type attention struct {
	st   adminwire.Status
	list []adminwire.Attention
}

func (a *attention) add(code adminwire.AttentionCode, level, page, command, detail string) *adminwire.Attention {
	a.list = append(a.list, adminwire.Attention{Code: code, Level: level, Detail: detail, Page: "/console/" + page, Command: "licensectl " + command})
	return &a.list[len(a.list)-1]
}

// service is what keeps the daemon from answering and signing.
func (a *attention) service() {
	st := a.st
	trusted := st.Clock.State == "" || st.Clock.State == adminwire.Trusted
	if !trusted {
		a.add(adminwire.AttentionClock, adminwire.LevelFail, "settings", "doctor", "the daemon's clock is "+st.Clock.State+", and nothing is signed until it is right or confirmed")
	}
	if !st.Ready && trusted {
		a.add(adminwire.AttentionNotReady, adminwire.LevelFail, "settings", "status", cmp.Or(st.NotReady, "its log says why"))
	}
	for _, end := range []struct {
		what string
		at   time.Time
	}{{"key_set", st.Keys.ExpiresAt}, {"signing_key", st.Keys.CurrentUntil}} {
		left := end.at.Sub(st.Now)
		if end.at.IsZero() || left >= keysSoon {
			continue
		}
		level, name := adminwire.LevelWarn, strings.ReplaceAll(end.what, "_", " ")
		text := fmt.Sprintf("the %s runs out on %s", name, end.at.UTC().Format(time.DateOnly))
		if left <= 0 {
			level, text = adminwire.LevelFail, fmt.Sprintf("the %s has run out, on %s", name, end.at.UTC().Format(time.DateOnly))
		}
		a.add(adminwire.AttentionKeys, level, "keys", "keys list", text).About = end.what
	}
	for _, w := range st.Keys.Warnings {
		level := adminwire.LevelWarn
		switch w.Kind {
		case "key_set", "signing_key": // said above
			continue
		case "signer", "key_folder":
			level = adminwire.LevelFail
		}
		a.add(adminwire.AttentionKeys, level, "keys", "keys list", w.Text).About = w.Kind
	}
	if !st.Keys.HasNext && st.Keys.Current != "" {
		a.add(adminwire.AttentionKeys, adminwire.LevelWarn, "keys", "keys keyset --request", "there is no next signing key, so the present one cannot be rotated").About = "next"
	}
	if len(st.Keys.AnchorsPresent) > 0 {
		a.add(adminwire.AttentionKeys, adminwire.LevelNote, "keys", "doctor", "private halves of anchors lie beside the daemon: move them offline").About = "anchors"
	}
	if len(st.Keys.Leftover) > 0 {
		a.add(adminwire.AttentionKeys, adminwire.LevelWarn, "keys", "doctor", "private halves of retired keys could not be destroyed: remove these files by hand").About = "leftover"
	}
}

// machine is what the machine and its store need.
func (a *attention) machine() {
	st := a.st
	if st.Restore != nil {
		at := a.add(adminwire.AttentionReconcile, adminwire.LevelWarn, "settings", "db reconcile list",
			"the store was restored as of "+st.Restore.MadeAt.UTC().Format(time.RFC3339)+"; what was lost has to be decided")
		at.Count = st.Restore.Open
	}
	if st.MarksFailing != "" {
		a.add(adminwire.AttentionMarks, adminwire.LevelFail, "settings", "doctor", st.MarksFailing)
	}
	switch b := st.Backups; {
	case b == nil:
	case b.Failure != "":
		a.add(adminwire.AttentionBackups, adminwire.LevelFail, "settings", "doctor", "the last attempt failed: "+b.Failure)
	case b.Late:
		a.add(adminwire.AttentionBackups, adminwire.LevelFail, "settings", "doctor", "one is due every "+b.Every+", and the last one is older")
	}
	if d := st.Disk; d != nil {
		free := fmt.Sprintf("%d MiB are free on the disk of the data folder", d.Free>>20)
		switch {
		case d.Free < diskFail:
			a.add(adminwire.AttentionDisk, adminwire.LevelFail, "settings", "doctor", free)
		case d.Free < max(diskWarn, uint64(max(st.StoreBytes, 0))):
			a.add(adminwire.AttentionDisk, adminwire.LevelWarn, "settings", "doctor", free)
		}
	}
	for _, f := range st.StoreFindings {
		if f.Level == adminwire.LevelWarn || f.Level == adminwire.LevelFail {
			a.add(adminwire.AttentionStore, f.Level, "settings", "doctor", f.Detail)
		}
	}
	for _, d := range st.Daemons {
		off := time.Duration(d.ClockAhead) * time.Millisecond
		if off.Abs() <= clocksApart {
			continue
		}
		way := "ahead of"
		if off < 0 {
			way = "behind"
		}
		a.add(adminwire.AttentionClocksApart, adminwire.LevelWarn, "settings", "doctor",
			fmt.Sprintf("its clock is at least %s %s that of the daemon that answers", off.Abs().Round(time.Second), way)).About = cmp.Or(d.Host, d.ID)
	}
}

// others is what those need that the daemon talks to.
func (a *attention) others() {
	for _, m := range a.st.Marketplaces {
		if len(m.Problems) == 0 || m.Level != adminwire.LevelWarn && m.Level != adminwire.LevelFail {
			continue
		}
		at := a.add(adminwire.AttentionMarketplace, m.Level, "marketplaces/"+m.Channel, "marketplace status "+m.Channel, m.Problems[0])
		at.About, at.Count = m.Channel, len(m.Problems)
	}
	for _, w := range a.st.Webhooks {
		if len(w.Problems) == 0 {
			continue
		}
		level := w.Level
		if level != adminwire.LevelFail {
			level = adminwire.LevelWarn
		}
		a.add(adminwire.AttentionWebhook, level, "webhooks", "webhook list", strings.Join(w.Problems, "; ")).About = w.Name
	}
}

func (a *attention) parked(n int) {
	if n > 0 {
		a.add(adminwire.AttentionJobs, adminwire.LevelWarn, "outbox?state=parked", "marketplace outbox --parked", "what was to be told to a marketplace was given up").Count = n
	}
}

// licences is what is to be decided about licences and orders.
func (a *attention) licences(c authority.Census) {
	if n := a.st.TransfersWaiting; n > 0 {
		a.add(adminwire.AttentionTransfers, adminwire.LevelWarn, "transfers", "transfer list", "customers wait for leave to move their licence to another machine").Count = n
	}
	if c.Warned > 0 {
		a.add(adminwire.AttentionOrders, adminwire.LevelWarn, "orders?warned=true", "order list --warned", "there is something to do about orders").Count = c.Warned
	}
	forks := 0
	for _, d := range c.Days[max(0, len(c.Days)-forkDays):] {
		forks += d.Forks
	}
	if forks > 0 {
		a.add(adminwire.AttentionForks, adminwire.LevelNote, "licenses?forked=true", "list --forked", fmt.Sprintf("signs of copied installs were recorded in the last %d days", forkDays)).Count = forks
	}
}
