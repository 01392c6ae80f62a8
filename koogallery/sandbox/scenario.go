package sandbox

import (
	"fmt"
	"strconv"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Limits of a scenario file.
const (
	MaxScenario      = 1 << 20 // bytes
	MaxScenarioSteps = 10_000
)

// Scenario is what a scenario file says: settings of a sandbox, and steps to
// play in it. docs/sandbox.md describes the file.
type Scenario struct {
	name     string
	settings settings
	steps    []step
}

// settings are the members of the file beside the steps. Those which the file
// has not leave the Options alone.
type settings struct {
	set           map[string]bool
	seed          uint64
	products      []Product
	retryInterval time.Duration
	maxAttempts   int
	probeInterval time.Duration
	require       bool
	notify        bool
	noQueryV2     bool
	location      *time.Location
	day           time.Duration
	dialect       Dialect
	misbehaviour  Misbehaviour
}

// step is one thing to do. Each verb takes the members which stepMembers lists.
type step struct {
	line     int
	do       string
	of       string // the name that "as" of an earlier step gave
	as       string
	product  string
	amount   int64
	period   time.Duration
	trial    bool
	wait     time.Duration
	device   string
	activity koogallery.Activity
	code     string
	mode     Outage
	faults   Misbehaviour
	fault    Fault
	dialect  Dialect
	buyer    buyerRequest
	extend   map[string]string
	after    time.Duration // from now to the beginning of a licence that is applied for
	until    time.Duration // … to its end; 0: that of the instance
	endless  bool
	expect   expectation
}

// expectation is what an "expect" step compares; empty members are not compared.
type expectation struct {
	status    string
	frozen    *bool
	told      *bool // the merchant confirmed what there is to confirm
	pending   *uint64
	delivered *uint64 // applications that were fulfilled
	amount    *uint64
	failed    *uint64 // messages given up, of all purchases
}

// stepMembers are the members of each verb beside "do"; those with "!" must be
// there.
var stepMembers = map[string][]string{
	"buy":            {"product!", "amount", "period", "trial", "buyer", "extend", "as"},
	"receive":        {"of!"},
	"renew":          {"of!", "period!", "product", "as"},
	"change":         {"of!", "period!", "product", "amount", "as"},
	"convert-trial":  {"of!", "period!", "as"},
	"cancel-renewal": {"of!", "as"},
	"freeze":         {"of!"},
	"unfreeze":       {"of!"},
	"expire":         {"of!"},
	"unsubscribe":    {"of!", "as"},
	"release":        {"of!"},
	"get-license":    {"of!"},
	"fail-order":     {"of!", "fault"},
	"apply":          {"of!", "device", "effective_in", "expires_in", "no_expiry", "as"},
	"apply-again":    {"of!"},
	"deny":           {"of!"},
	"notify":         {"of!"},
	"stop":           {"product!"},
	"resume":         {"product!"},
	"debug":          {"activity!", "code!", "product"},
	"dialect":        dialectNames(),
	"lapse":          {"period"},
	"probe":          {},
	"retry":          {},
	"outage":         {"mode"},
	"misbehave":      {"faults", "limit", "max_delay", "slow_for", "skew"},
	"wait":           {"for!"},
	"settle":         {},
	"expect":         {"of", "status", "frozen", "told", "pending", "delivered", "amount", "failed"},
}

func dialectNames() []string {
	var names []string
	for _, s := range DialectSettings() {
		names = append(names, s.Name)
	}
	return names
}

// ParseScenario reads a scenario file: JSON, strict. name stands in errors,
// which tell line and key.
func ParseScenario(name string, data []byte) (*Scenario, error) {
	if len(data) > MaxScenario {
		return nil, fmt.Errorf("%s: longer than %d bytes", name, MaxScenario)
	}
	r := &jsonReader{name: name}
	root := r.parse(data)
	if r.err != nil {
		return nil, r.err
	}
	sc := &Scenario{name: name}
	o := r.object(root)
	sc.settings = r.settings(o)
	names := map[string]string{} // what "as" named: "code" or "event"
	if n := o.take("steps"); n != nil {
		for _, item := range r.list(n, MaxScenarioSteps) {
			sc.steps = append(sc.steps, r.step(item, names, sc.settings.products))
		}
	}
	r.unknown(o)
	if r.err != nil {
		return nil, r.err
	}
	return sc, nil
}

func (r *jsonReader) settings(o *jsonObject) settings {
	s := settings{set: make(map[string]bool)}
	for name := range o.members {
		s.set[name] = true
	}
	s.seed = r.whole(o, "seed", 1<<63)
	if n := o.take("products"); n != nil {
		for _, item := range r.list(n, 1000) {
			s.products = append(s.products, r.product(item))
		}
		if _, err := checkProducts(s.products); err != nil && r.err == nil {
			r.fail(n.line, n.subject, "%v", err)
		}
	}
	s.retryInterval = r.positive(o, "retry_interval")
	s.maxAttempts = int(r.whole(o, "max_attempts", 10_000))
	s.probeInterval = r.duration(o, "probe_interval")
	s.require = r.flag(o, "require_receive")
	s.notify = r.flag(o, "notify_orders")
	s.noQueryV2 = r.flag(o, "no_query_v2")
	if n := o.members["location"]; n != nil {
		loc, err := time.LoadLocation(r.text(o, "location", 64))
		if err != nil {
			r.fail(n.line, n.subject, "unknown time zone")
		}
		s.location = loc
	}
	s.day = r.positive(o, "day")
	if n := o.take("dialect"); n != nil {
		d := r.object(n)
		for _, name := range dialectNames() {
			r.dialect(&s.dialect, d, name)
		}
		r.unknown(d)
	}
	s.misbehaviour = r.misbehaviour(o)
	return s
}

// dialect reads one member of a dialect.
func (r *jsonReader) dialect(d *Dialect, o *jsonObject, name string) {
	n := o.members[name]
	if value := r.text(o, name, 16); n != nil && r.err == nil {
		if err := d.Set(name, value); err != nil {
			r.fail(n.line, n.subject, "%v", err)
		}
	}
}

func (r *jsonReader) positive(o *jsonObject, name string) time.Duration {
	n := o.members[name]
	d := r.duration(o, name)
	if n != nil && d == 0 {
		r.fail(n.line, n.subject, "must be longer than nothing")
	}
	return d
}

func (r *jsonReader) product(n *jsonNode) Product {
	o := r.object(n)
	p := Product{
		ID: r.text(o, "id", 64), Name: r.text(o, "name", 200), SKU: r.text(o, "sku", 64),
		Interface:      Interface(r.choice(o, "interface", []string{string(License2), string(Online), string(License1)})),
		ExpireActivity: koogallery.Activity(r.choice(o, "expire_activity", []string{"expireLicense", "expireInstance"})),
		Encryption:     koogallery.Encryption(r.choice(o, "encryption", []string{"1", "2"})),
	}
	r.unknown(o)
	return p
}

func (r *jsonReader) misbehaviour(o *jsonObject) Misbehaviour {
	m := Misbehaviour{
		Limit: int(r.whole(o, "limit", 1_000_000)), MaxDelay: r.duration(o, "max_delay"),
		SlowFor: r.duration(o, "slow_for"), Skew: r.duration(o, "skew"),
	}
	n := o.take("faults")
	if n == nil {
		return m
	}
	m.Faults = make(map[Fault]float64)
	faults := r.object(n)
	for _, f := range Faults() {
		if p := faults.take(string(f)); p != nil {
			m.Faults[f] = r.fraction(p)
		}
	}
	r.unknown(faults)
	return m
}

func (r *jsonReader) step(n *jsonNode, names map[string]string, products []Product) step {
	o := r.object(n)
	s := step{line: n.line, do: r.choice(o, "do", sortedKeys(stepMembers))}
	if s.do == "" {
		r.fail(n.line, n.subject, `a step needs "do"`)
		return s
	}
	for _, member := range stepMembers[s.do] {
		r.stepMember(&s, o, n, member)
	}
	r.unknown(o)
	r.stepNames(&s, o, names)
	if p := o.members["product"]; p != nil && products != nil {
		known := false
		for _, listed := range products {
			known = known || listed.ID == s.product
		}
		if !known {
			r.fail(p.line, p.subject, "product %q is not in products", shorten(s.product, 64))
		}
	}
	return s
}

func (r *jsonReader) stepMember(s *step, o *jsonObject, n *jsonNode, member string) {
	name := member
	if name[len(name)-1] == '!' {
		if name = name[:len(name)-1]; o.members[name] == nil {
			r.fail(n.line, n.subject, "%s needs %q", s.do, name)
		}
	}
	switch name {
	case "of":
		s.of = r.text(o, name, 64)
	case "as":
		s.as = r.text(o, name, 64)
	case "product":
		s.product = r.text(o, name, 64)
	case "device":
		s.device = r.text(o, name, koogallery.MaxDeviceFingerprint)
	case "code":
		s.code = r.text(o, name, 64)
	case "activity":
		s.activity = koogallery.Activity(r.text(o, name, 64))
		if _, ok := interfaceOf(s.activity); !ok && o.members[name] != nil {
			r.fail(o.members[name].line, o.members[name].subject, "no activity with a debug case")
		}
	case "amount":
		if s.do == "expect" {
			s.expect.amount = r.expected(o, name)
		} else {
			s.amount = int64(r.whole(o, name, 1<<31))
		}
	case "period":
		s.period = r.duration(o, name)
	case "for":
		s.wait = r.duration(o, name)
	case "trial":
		s.trial = r.flag(o, name)
	case "mode":
		s.mode = Outage(r.choice(o, name, []string{"", string(OutageGateway), string(OutageHTML), string(OutageTruncated), string(OutageDrop)}))
	case "faults":
		s.faults = r.misbehaviour(o)
	default:
		r.expectMember(s, o, name)
		r.buyMember(s, o, name)
	}
}

// buyMember reads what a buyer says, and what tells marketplaces apart.
func (r *jsonReader) buyMember(s *step, o *jsonObject, name string) {
	switch name {
	case "buyer":
		if n := o.take(name); n != nil {
			b := r.object(n)
			for _, field := range buyerFields {
				*s.buyer.field(field) = r.text(b, field, maxBuyerField)
			}
			r.unknown(b)
		}
	case "extend":
		if n := o.take(name); n != nil {
			e := r.object(n)
			s.extend = make(map[string]string)
			for _, key := range e.names {
				s.extend[key] = r.text(e, key, maxExtendValue)
			}
		}
	case "effective_in":
		s.after = r.duration(o, name)
	case "expires_in":
		s.until = r.duration(o, name)
	case "no_expiry":
		s.endless = r.flag(o, name)
	case "fault":
		names := []string{""}
		for _, f := range OrderFaults() {
			names = append(names, string(f))
		}
		s.fault = Fault(r.choice(o, name, names))
	default:
		if s.do == "dialect" {
			r.dialect(&s.dialect, o, name)
		}
	}
}

func (r *jsonReader) expectMember(s *step, o *jsonObject, name string) {
	switch name {
	case "status":
		s.expect.status = r.choice(o, name, []string{string(Issued), string(Alive), string(Expired), string(Released), string(Cancelled)})
	case "frozen":
		s.expect.frozen = r.expectedFlag(o, name)
	case "told":
		s.expect.told = r.expectedFlag(o, name)
	case "pending":
		s.expect.pending = r.expected(o, name)
	case "delivered":
		s.expect.delivered = r.expected(o, name)
	case "failed":
		s.expect.failed = r.expected(o, name)
	}
}

func (r *jsonReader) expected(o *jsonObject, name string) *uint64 {
	if o.members[name] == nil {
		return nil
	}
	v := r.whole(o, name, 1<<31)
	return &v
}

func (r *jsonReader) expectedFlag(o *jsonObject, name string) *bool {
	if o.members[name] == nil {
		return nil
	}
	v := r.flag(o, name)
	return &v
}

// stepNames checks that "of" names what an earlier "as" named, of the right
// kind, and that "as" is new.
func (r *jsonReader) stepNames(s *step, o *jsonObject, names map[string]string) {
	want := "code"
	if s.do == "apply-again" || s.do == "deny" {
		want = "event"
	}
	if n := o.members["of"]; n != nil && names[s.of] != want {
		what := map[string]string{"code": "buy", "event": "apply"}[want]
		r.fail(n.line, n.subject, `no earlier %s has "as": %s`, what, strconv.Quote(shorten(s.of, 64)))
	}
	if n := o.members["as"]; n != nil {
		if s.as == "" || names[s.as] != "" {
			r.fail(n.line, n.subject, "empty, or given to an earlier step")
		}
		names[s.as] = "code"
		if s.do == "apply" {
			names[s.as] = "event"
		}
	}
	e := s.expect
	if s.do == "expect" && s.of == "" && (e.status != "" || e.frozen != nil || e.told != nil || e.delivered != nil || e.amount != nil) {
		r.fail(s.line, "", `expect of a purchase needs "of"; without it only "pending" and "failed" can be compared`)
	}
}

// Options are o with what the file sets.
func (sc *Scenario) Options(o Options) Options {
	s := sc.settings
	set := func(name string, do func()) {
		if s.set[name] {
			do()
		}
	}
	set("seed", func() { o.Seed = s.seed })
	set("products", func() { o.Products = s.products })
	set("retry_interval", func() { o.RetryInterval = s.retryInterval })
	set("max_attempts", func() { o.MaxAttempts = s.maxAttempts })
	set("probe_interval", func() { o.ProbeInterval = s.probeInterval })
	set("require_receive", func() { o.RequireReceive = s.require })
	set("notify_orders", func() { o.NotifyOrders = s.notify })
	set("no_query_v2", func() { o.NoQueryV2 = s.noQueryV2 })
	set("location", func() { o.Location = s.location })
	set("day", func() { o.Day = s.day })
	set("dialect", func() { o.Dialect = s.dialect })
	set("faults", func() { o.Misbehaviour.Faults = s.misbehaviour.Faults })
	set("limit", func() { o.Misbehaviour.Limit = s.misbehaviour.Limit })
	set("max_delay", func() { o.Misbehaviour.MaxDelay = s.misbehaviour.MaxDelay })
	set("slow_for", func() { o.Misbehaviour.SlowFor = s.misbehaviour.SlowFor })
	set("skew", func() { o.Misbehaviour.Skew = s.misbehaviour.Skew })
	return o
}

// Steps is the number of steps.
func (sc *Scenario) Steps() int { return len(sc.steps) }
