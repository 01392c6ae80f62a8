package market_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
)

// applied compares one application for a device's licence with what the device
// got: given are those that were given up, with the reason.
func (m *modelled) applied(p *purchase, state sandbox.CodeState, n int, l license.License, given map[string]string) bool {
	app := state.Applications[n]
	name := fmt.Sprintf("%s, application %s", p, app.EventID)
	why, parked := given[app.EventID]
	ok := true
	fail := func(format string, args ...any) {
		ok = false
		m.errorf(name+": "+format, args...)
	}
	if parked {
		m.seen["a delivery that was given up"]++
	}
	// What was accepted may be given up, and may be refused when it is asked for again.
	if parked && !m.mayGiveUp(p, state, app, why) {
		fail("given up: %s", why)
	}
	switch app.State {
	case sandbox.Applied, sandbox.Refused:
		if app.State == sandbox.Refused {
			m.seen["a device that is refused"]++
		}
		if !m.mayRefuse(p, state, app) {
			fail("%s, and the answer was %s", app.State, app.Result)
		}
	case sandbox.Accepted:
		if !parked {
			fail("nothing was delivered, and nothing is given up")
		}
	case sandbox.Fulfilled:
		m.seen["a licence for a device"]++
		if err := m.deviceLicence(p, app, l); err != nil {
			fail("%v", err)
		}
	case sandbox.Denied:
	}
	return ok
}

// deviceLicence checks what a device got, with no more than it has: the file, the
// anchors and its name.
func (m *modelled) deviceLicence(p *purchase, app sandbox.Application, l license.License) error {
	file := []byte(app.License.Reveal())
	got, err := m.verify(file)
	if err != nil {
		return err
	}
	d, err := license.ParseDevice(app.Device.Reveal())
	if err != nil {
		return err
	}
	if !license.Match(got.Binding, d.Fingerprint(got.Binding.Salt)).OK {
		return errors.New("its licence is not for this device")
	}
	for _, other := range devices {
		o, err := license.ParseDevice(other)
		if err == nil && other != app.Device.Reveal() && license.Match(got.Binding, o.Fingerprint(got.Binding.Salt)).OK {
			return errors.New("its licence is for another device too")
		}
	}
	m.mu.Lock()
	sent := m.files[app.EventID]
	m.mu.Unlock()
	dates := got.Dates
	switch {
	case !bytes.Equal(sent, file):
		return errors.New("another file was uploaded than the marketplace has")
	case got.Product != "cad" || got.LicenseID != l.ID || got.Order != p.ID || !slices.Contains(p.amounts, int64(got.Machines)):
		return fmt.Errorf("its licence is %s of %s, order %s, for %d", got.LicenseID, got.Product, got.Order, got.Machines)
	case !dates.NotBefore.Equal(app.EffectiveAt), !dates.ExpiresAt.Equal(app.ExpiresAt):
		return fmt.Errorf("its licence is good from %s to %s, and was applied for from %s to %s", dates.NotBefore, dates.ExpiresAt, app.EffectiveAt, app.ExpiresAt)
	case !slices.ContainsFunc(p.ends, dates.ExpiresAt.Equal):
		return fmt.Errorf("its licence ends %s, which the order never did: %v", dates.ExpiresAt, p.ends)
	case dates.IssuedAt.After(app.UploadedAt.Add(time.Minute)), !dates.LeaseUntil.Equal(dates.Exp), got.InstallKey != nil: // of two of one second the later is dated so
		return fmt.Errorf("its licence was made %s for an upload at %s, with a lease until %s", dates.IssuedAt, app.UploadedAt, dates.LeaseUntil)
	}
	return nil
}

// mayRefuse reports whether the merchant had a reason to refuse an application.
// The last answer need not be that reason: whoever asks again can be told of a
// wrong clock.
func (m *modelled) mayRefuse(p *purchase, state sandbox.CodeState, app sandbox.Application) bool {
	late := p.frozen || outside(p, app)
	ended := state.Status == sandbox.Released
	switch app.Result { //nolint:exhaustive // no other result is about the application
	case koogallery.ResultQuotaUsed:
		return full(p, state, app)
	case koogallery.ResultOutsidePeriod:
		return late
	case koogallery.ResultUnknownCode:
		return ended
	}
	return late || ended || full(p, state, app)
}

// mayGiveUp reports whether the merchant had a reason to give a delivery up.
func (m *modelled) mayGiveUp(p *purchase, state sandbox.CodeState, app sandbox.Application, why string) bool {
	reason, _, _ := strings.Cut(why, ":")
	switch license.Reason(reason) { //nolint:exhaustive // for no other reason
	case license.MachineLimit:
		return full(p, state, app)
	case license.Expired:
		return outside(p, app)
	case license.Suspended:
		return state.Frozen
	case license.Released:
		return state.Status == sandbox.Released
	case license.Forbidden: // the marketplace took nothing for it any more, or not before somebody had asked again
		return state.Status == sandbox.Released || app.State != sandbox.Accepted || full(p, state, app)
	}
	return false
}

// full reports whether as many other devices have applied as the purchase was good
// for at some time.
func full(p *purchase, state sandbox.CodeState, app sandbox.Application) bool {
	others := make(map[string]bool)
	for _, other := range state.Applications {
		if other.Device.Reveal() != app.Device.Reveal() {
			others[other.Device.Reveal()] = true
		}
	}
	return int64(len(others)) >= slices.Min(p.amounts)
}

// outside reports whether an application lay outside its order at some time, by
// more than a day, which zones may come to, or came when it had ended.
func outside(p *purchase, app sandbox.Application) bool {
	return slices.ContainsFunc(p.ends, func(end time.Time) bool {
		return app.ExpiresAt.After(end.Add(day)) || !end.After(modelBegin.Add(modelLength))
	})
}

// modelLength is longer than any game.
const modelLength = 30 * day

// noneForgotten checks that no delivery waits for a button which the marketplace
// has pressed: what was given up because of a freeze goes out when that is lifted.
func (m *modelled) noneForgotten() {
	a := m.awake().authority
	for event, why := range m.given(a) {
		if reason, _, _ := strings.Cut(why, ":"); license.Reason(reason) != license.Suspended {
			continue
		}
		for _, p := range m.bought {
			state := m.state(p)
			l, _, known := m.licence(a, p, state)
			mine := slices.ContainsFunc(state.Applications, func(app sandbox.Application) bool { return app.EventID == event })
			if mine && known && l.Holds == 0 {
				m.errorf("%s, application %s: given up (%s), and it is not suspended any more", p, event, why)
			}
		}
	}
}

// uploaded keeps what the daemon uploads. One application is never sent two
// licences, whether or not the marketplace got the first.
func (m *modelled) uploaded(rq *http.Request) {
	event, is := strings.CutSuffix(rq.URL.Path, "/file")
	if !is {
		return
	}
	event = event[strings.LastIndexByte(event, '/')+1:]
	file, err := uploadOf(rq)
	if err != nil {
		m.errorf("an upload: %v", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if was, sent := m.files[event]; sent && !bytes.Equal(was, file) {
		one, err1 := m.verify(was)
		other, err2 := m.verify(file)
		m.errorf("application %s is sent two licences: %+v (%v) and %+v (%v)", event, one, err1, other, err2)
	}
	m.files[event] = file
}

func uploadOf(rq *http.Request) ([]byte, error) {
	body, err := rq.GetBody()
	if err != nil {
		return nil, err
	}
	_, params, err := mime.ParseMediaType(rq.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	form, err := multipart.NewReader(body, params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		return nil, err
	}
	if files := form.File["file"]; len(files) == 1 {
		f, err := files[0].Open()
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it is in memory
		return io.ReadAll(f)
	}
	var info struct {
		Characters string `json:"characters"`
	}
	if len(form.Value["isvUpdateFileReq"]) != 1 {
		return nil, errors.New("it has no parameters")
	}
	err = json.Unmarshal([]byte(form.Value["isvUpdateFileReq"][0]), &info)
	return []byte(info.Characters), err
}
