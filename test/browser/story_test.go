package browser_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// customers have names as customers have them; some try what a page can bear.
var customers = []string{
	"上海海纳精密机械有限公司", "Northwind Engineering GmbH", "深圳市云图科技有限公司", "Bridge & Sons Ltd", "成都天府设计研究院", "Atelier Dupré",
	"杭州西溪软件有限公司", "Kestrel Marine Surveys", "广州珠江轨道交通设备有限公司", "Fjordkraft Teknikk AS", "北京中关村仿真技术有限公司", "Osaka Precision K.K.",
	`<script>alert("x")</script> & Söhne`, "武汉光谷激光股份有限公司", "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", "西安大唐建筑设计有限公司",
}

// fate is what becomes of a licence: the day of its issue counted from today, how long
// it lasts ("" is for ever), on how many machines it is activated, and what is done then.
type fate struct {
	day      int
	product  string
	lasts    string
	machines int
	then     func(*shop, adminwire.License)
}

// fates are in the order of their days.
var fates = []fate{
	{-84, "cad-pro", "365d", 3, renew},
	{-83, "cad-lite", "60d", 1, nil},
	{-82, "flow-sim", "365d", 2, nil},
	{-80, "cad-pro", "365d", 2, suspend},
	{-78, "cad-lite", "90d", 1, nil},
	{-77, "cad-lite", "365d", 0, nil},
	{-75, "cad-pro", "", 1, nil},
	{-72, "archive", "365d", 1, nil},
	{-70, "cad-pro", "30d", 1, nil},
	{-68, "cad-lite", "365d", 1, revoke},
	{-66, "cad-pro", "365d", 3, nil},
	{-63, "cad-lite", "90d", 1, nil},
	{-60, "flow-sim", "180d", 1, nil},
	{-58, "cad-pro", "365d", 0, nil},
	{-55, "cad-lite", "365d", 1, release},
	{-53, "cad-lite", "365d", 1, nil},
	{-50, "cad-pro", "60d", 2, nil},
	{-47, "archive", "365d", 1, nil},
	{-45, "cad-lite", "45d", 1, nil},
	{-42, "cad-pro", "365d", 0, revoke},
	{-40, "cad-lite", "365d", 1, nil},
	{-37, "cad-lite", "365d", 0, nil},
	{-35, "flow-sim", "365d", 1, nil},
	{-33, "cad-pro", "730d", 3, nil},
	{-30, "cad-pro", "365d", 0, suspend},
	{-27, "cad-lite", "30d", 1, nil},
	{-24, "cad-lite", "365d", 1, nil},
	{-21, "cad-pro", "365d", 1, nil},
	{-19, "cad-lite", "365d", 0, nil},
	{-16, "archive", "", 1, nil},
	{-14, "cad-pro", "365d", 2, nil},
	{-11, "cad-lite", "365d", 0, nil},
	{-9, "flow-sim", "30d", 1, nil},
	{-6, "cad-pro", "365d", 1, nil},
	{-4, "cad-lite", "365d", 0, nil},
	{-2, "cad-pro", "365d", 1, nil},
	{-1, "cad-lite", "365d", 0, nil},
	{-1, "cad-pro", "365d", 0, nil},
}

func suspend(s *shop, l adminwire.License) { s.did(s.admin.Suspend(s.t.Context(), l.ID)) }
func release(s *shop, l adminwire.License) { s.did(s.admin.Release(s.t.Context(), l.ID)) }

func revoke(s *shop, l adminwire.License) {
	s.did(s.admin.Revoke(s.t.Context(), l.ID, "the payment was charged back"))
}

func renew(s *shop, l adminwire.License) {
	s.did(s.admin.Renew(s.t.Context(), l.ID, adminwire.Renew{For: "365d"}))
}

// fill tells the story of the shop.
func (s *shop) fill() {
	s.t.Helper()
	raw, err := s.admin.Anchors(s.t.Context())
	s.did(raw, err)
	s.anchors, err = token.ParseAnchors(raw)
	s.did(s.anchors, err)
	started, full := fates[0].day, adminwire.License{}
	for i, f := range fates {
		s.on(f.day)
		if f.day-started > 25 { // a daemon that sees a month pass at once doubts its clock
			s.restart()
			started = f.day
		}
		made, err := s.admin.Issue(s.t.Context(), adminwire.Issue{
			Product: f.product, Customer: customers[i%len(customers)], Order: fmt.Sprintf("SO-2026-%04d", 117+i), For: f.lasts, Perpetual: f.lasts == "",
		})
		s.did(made, err)
		l := made.Licenses[0]
		for m := range f.machines {
			s.did(nil, s.install(f.product, l.ID, m).g.Activate(s.t.Context(), l.Code))
		}
		if f.then != nil {
			f.then(s, l)
		}
		if i == 0 {
			s.known["{id}"] = l.ID
			s.copied(l)
		}
		if f.product == "archive" {
			full = l
		}
		if i == len(fates)-1 {
			file, err := s.install(f.product, l.ID, 0).g.Request(s.t.Context(), client.OpActivate, client.RequestOptions{Code: l.Code})
			s.did(file, err)
			s.known["{request}"] = string(file)
		}
	}
	s.on(0, -8)
	s.known["{full}"] = full.ID
	if err := s.install(full.Product, full.ID, 9).g.Transfer(s.t.Context(), full.Code, ""); license.ReasonOf(err) != license.TransferLimit {
		s.t.Fatalf("a move that the staff has to approve: %v", err)
	}
	s.on(0, -6)
	s.sales()
	s.on(0, -3)
	s.orders()
	s.on(0)
	s.staff()
	s.restart() // what is counted at the start is there
	s.check()
}

// install is a copy of a product on a machine.
type install struct {
	g     *client.Guard
	cache *client.MemoryCache
	parts map[license.Kind][]string
}

func (s *shop) install(product, id string, machine int) *install {
	s.t.Helper()
	i := &install{cache: &client.MemoryCache{}, parts: map[license.Kind][]string{}}
	for _, kind := range []license.Kind{license.KindOS, license.KindDisk, license.KindBoard, license.KindMAC} {
		i.parts[kind] = []string{fmt.Sprintf("%s of machine %d of %s", kind, machine, id)}
	}
	i.open(s, product)
	return i
}

func (i *install) open(s *shop, product string) {
	s.t.Helper()
	var err error
	i.g, err = client.Open(s.t.Context(), client.Options{
		Anchors: s.anchors, Product: product, Server: s.public(), Cache: i.cache, Now: s.clock, Manual: true,
		Fingerprint: func(context.Context) (fingerprint.Set, error) {
			return fingerprint.Set{Environment: fingerprint.Metal, Values: i.parts}, nil
		},
	})
	s.did(i.g, err)
	s.t.Cleanup(func() { _ = i.g.Close() })
}

// copied has a machine of the licence changed, and its memory copied to two machines that
// both go on with it.
func (s *shop) copied(l adminwire.License) {
	s.t.Helper()
	ctx := s.t.Context()
	first := s.install(l.Product, l.ID, 0)
	s.did(nil, first.g.Activate(ctx, l.Code))
	first.parts[license.KindDisk] = []string{"a new disk"}
	s.on(-84, 5)
	s.did(nil, first.g.Refresh(ctx))
	memory, err := first.cache.Load()
	s.did(memory, err)
	second := &install{cache: &client.MemoryCache{}, parts: first.parts}
	s.did(nil, second.cache.Store(memory))
	second.open(s, l.Product)
	for h := range 4 {
		s.on(-84, 6+h)
		for _, i := range []*install{first, second} {
			_ = i.g.Refresh(ctx) // either may be told to activate again
		}
	}
	seen, err := s.admin.License(ctx, l.ID)
	s.did(seen, err)
	drifted := slices.ContainsFunc(seen.Installs, func(i adminwire.Install) bool { return i.Drift != nil })
	if seen.Forks == 0 || !drifted {
		s.t.Fatalf("no copy, or no drift, was seen: %+v", seen)
	}
}

// orders are those that the staff knows from the seller console.
func (s *shop) orders() {
	s.t.Helper()
	for i, o := range []adminwire.AddOrder{
		{Order: "CS2606120001", Stage: license.StageToDeliver},
		{Order: "CS2606120002", Stage: license.StageDelivered, Rejections: 1},
		{Order: "CS2605280003", Stage: license.StageAccepted},
		{Order: "CS2606050004", Stage: license.StageRejected, Rejections: 3},
	} {
		at := today.AddDate(0, 0, -3-3*i)
		o.Channel, o.Offer, o.Amount, o.Customer, o.StageAt, o.OrderedAt, o.Offline = "koogallery", "OFFI1", 1+i, customers[i], &at, &at, true
		s.did(s.admin.AddOrder(s.t.Context(), o))
	}
	s.known["{order}"] = "CS2606120001"
	// While the marketplace is out, what is to be asked of it waits in the outbox.
	s.did(nil, s.market.SetOutage(sandbox.OutageGateway))
	s.did(s.admin.AddOrder(s.t.Context(), adminwire.AddOrder{Channel: "koogallery", Order: "CS2606150005"}))
	jobs, err := s.admin.Jobs(s.t.Context(), adminclient.JobOptions{Limit: 1})
	s.did(jobs, err)
	if len(jobs.Jobs) == 0 {
		s.t.Fatal("there is nothing in the outbox")
	}
	s.known["{job}"] = jobs.Jobs[0].ID
}

// sales are made by the marketplace itself; a licence is there when its code is used.
func (s *shop) sales() {
	s.t.Helper()
	for _, of := range []struct{ product, offer string }{{"cad-pro", "OFFI1"}, {"cad-lite", "OFFI2"}} {
		sold, err := s.market.Buy(s.t.Context(), of.offer, 1, 365*24*time.Hour)
		s.did(sold, err)
		s.did(nil, s.market.WaitIdle(s.t.Context()))
		s.did(nil, s.install(of.product, sold.ID, 0).g.Activate(s.t.Context(), sold.Code.Reveal()))
	}
}

// staff are who else has a token.
func (s *shop) staff() {
	s.t.Helper()
	for _, c := range []adminwire.CreateToken{
		{Name: "ci", Role: "issuer", Products: []string{"cad-lite"}, For: "30d"}, {Name: "监控", Role: "viewer", For: "365d"}, {Name: "li.wei", Role: "issuer", For: "90d"},
	} {
		made, err := s.admin.CreateToken(s.t.Context(), c)
		s.did(made, err)
		s.known["{token}"] = made.ID
	}
	s.known["{channel}"], s.known["{webhook}"] = "koogallery", "bookkeeping"
}

// check reads that the story came out as it was meant: a licence in each state.
func (s *shop) check() {
	s.t.Helper()
	list, err := s.admin.Licenses(s.t.Context(), adminclient.ListOptions{Limit: 1000})
	s.did(list, err)
	if len(list.Licenses) != len(fates)+2 {
		s.t.Errorf("there are %d licences, want %d and 2 sold", len(list.Licenses), len(fates))
	}
	for _, state := range license.States() {
		if !slices.ContainsFunc(list.Licenses, func(l adminwire.License) bool { return l.State == state }) {
			s.t.Errorf("no licence is %s", state)
		}
	}
}
