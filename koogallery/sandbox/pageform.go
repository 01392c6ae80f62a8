package sandbox

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// formReader reads the fields of a form; the first that cannot be read is the
// error.
type formReader struct {
	url.Values

	err error
}

func (f *formReader) fail(name, want string) {
	if f.err == nil {
		f.err = fmt.Errorf("%s: want %s: %w", name, want, ErrInvalid)
	}
}

func (f *formReader) whole(name string) int64 {
	if f.Get(name) == "" {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(f.Get(name)), 10, 64)
	if err != nil {
		f.fail(name, "a whole number")
	}
	return n
}

func (f *formReader) period(name string) period {
	var p period
	if p.UnmarshalText([]byte(strings.TrimSpace(f.Get(name)))) != nil {
		f.fail(name, `a period such as "90s", "2h" or "365d"`)
	}
	return p
}

// instant reads what a browser's field of day and time gives, in UTC.
func (f *formReader) instant(name string) time.Time {
	if f.Get(name) == "" {
		return time.Time{}
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, f.Get(name)); err == nil {
			return t
		}
	}
	f.fail(name, `a time such as "2026-03-04T05:06" in UTC`)
	return time.Time{}
}

// pairs reads lines of the form name=value.
func (f *formReader) pairs(name string) map[string]string {
	var out map[string]string
	for line := range strings.Lines(f.Get(name)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			f.fail(name, "lines of the form name=value")
			return nil
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return out
}

// formRequest is what the control API would be asked for by a form.
func (s *Sandbox) formRequest(values url.Values) (controlRequest, error) {
	f := &formReader{Values: values}
	req := controlRequest{
		Code: f.Get("code"), Product: f.Get("product"), Device: f.Get("device"), Event: f.Get("event"), OrderID: strings.TrimSpace(f.Get("order_id")),
		Activity: f.Get("activity"), Mode: f.Get("mode"), Trial: f.Get("trial") != "", NoExpiry: f.Get("no_expiry") != "",
		Amount: f.whole("amount"), ID: f.whole("id"), Period: f.period("period"), Fault: Fault(f.Get("fault")), Extend: f.pairs("extend"),
		EffectiveAt: f.instant("effective_at"), ExpiresAt: f.instant("expires_at"), AccessKey: f.Get("access_key"), CAPEM: f.Get("ca_pem"),
	}
	for _, name := range buyerFields {
		*req.Buyer.field(name) = f.Get(name)
	}
	if address := strings.TrimSpace(f.Get("url")); address != "" || f.Get("nobody") != "" {
		if f.Get("nobody") != "" {
			address = ""
		}
		req.URL = &address
	}
	switch f.Get("do") {
	case "misbehave":
		s.formMisbehaviour(f, &req)
	case "dialect":
		req.Dialect = s.Dialect()
		for _, setting := range DialectSettings() {
			if f.Has(setting.Name) && f.err == nil {
				f.err = req.Set(setting.Name, f.Get(setting.Name))
			}
		}
	}
	return req, f.err
}

// formMisbehaviour begins with the present one: what a form does not have stays.
func (s *Sandbox) formMisbehaviour(f *formReader, req *controlRequest) {
	s.mu.Lock()
	m := s.misbehaviour
	s.mu.Unlock()
	req.Faults, req.Limit = make(map[Fault]float64), m.Limit
	req.MaxDelay, req.SlowFor, req.Skew = period(m.MaxDelay), period(m.SlowFor), period(m.Skew)
	for _, fault := range Faults() {
		name := "fault-" + string(fault)
		p := m.Faults[fault]
		if text := strings.TrimSpace(f.Get(name)); text != "" {
			var err error
			if p, err = strconv.ParseFloat(text, 64); err != nil {
				f.fail(name, "a probability from 0 to 1")
			}
		} else if f.Has(name) {
			p = 0
		}
		if p != 0 {
			req.Faults[fault] = p
		}
	}
	if f.Has("limit") {
		req.Limit = int(f.whole("limit"))
	}
	for name, p := range map[string]*period{"max_delay": &req.MaxDelay, "slow_for": &req.SlowFor, "skew": &req.Skew} {
		if f.Has(name) {
			*p = f.period(name)
		}
	}
}
