package daemon_test

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client/qr"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// A QR code goes in as a photo or as a picture of the camera.
func TestBuyersPagePhoto(t *testing.T) {
	t.Parallel()
	m := start(t, buyerConfig, nil)
	l := m.issue()
	b := m.buyer()
	raw := activation(t, "", "m")
	var photo, other bytes.Buffer
	if err := errors.Join(qr.PNG(&photo, token.MarshalRequestFile(raw), 4), png.Encode(&other, image.NewGray(image.Rect(0, 0, 40, 40)))); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"photo", "file"} {
		status, page := b.handIn(map[string]string{"code": l.Code}, handed{field, "IMG_1.png", photo.Bytes()})
		wantSays(t, field, status, page, http.StatusOK, "Please check")
		if sentTo(t, page, "/activate/confirm").Get("request") != raw {
			t.Errorf("%s: read as another request", field)
		}
	}
	rs, answer := m.do(http.MethodPost, "/activate/scan", "image/png", photo.String())
	if rs.StatusCode != http.StatusOK || !strings.Contains(answer, `{"request":"LR1:`) {
		t.Errorf("%s: %s", rs.Status, answer)
	}
	for name, body := range map[string]string{"no code": other.String(), "no picture": "LR1:", "nothing": "", "too large": string(make([]byte, 2<<20+1))} {
		rs, answer := m.do(http.MethodPost, "/activate/scan", "image/png", body)
		if p := problem(t, rs, answer); p.Reason != license.BadRequest {
			t.Errorf("%s: %+v", name, p)
		}
	}
	rs, answer = m.do(http.MethodPost, "/activate/scan", "image/png", photo.String(), "Sec-Fetch-Site", "cross-site")
	if p := problem(t, rs, answer); p.Reason != license.Forbidden {
		t.Errorf("from another site: %+v", p)
	}
	if got := m.show(l.ID); got.Revision != l.Revision {
		t.Error("a photo has changed it")
	}
}

// Whoever was refused too often waits, at the page and the API together; who is known
// does not.
func TestBuyersPageLimit(t *testing.T) {
	t.Parallel()
	var clock movable
	m := start(t, strings.Replace(buyerConfig, "requests_per_minute: 0", "requests_per_minute: 3", 1), nil, clock.set)
	l := m.issue()
	b := m.buyer()
	known := url.Values{"request": {activation(t, "", "known")}, "code": {l.Code}}
	if status, page := b.post("/activate/confirm", known); status != http.StatusOK {
		t.Fatal(page)
	}
	guess := func() url.Values {
		c, err := license.NewCode(nil)
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{"request": {activation(t, "", "guess")}, "code": {c.Reveal()}}
	}
	b.post("/activate/confirm", guess())
	b.handIn(nil, handed{"file", "x", []byte("nonsense")})
	m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"x"}`)
	status, page := b.post("/activate/confirm", guess())
	wantSays(t, "the fourth", status, page, http.StatusTooManyRequests, "Too many attempts", "Try again in")
	right := url.Values{"request": {activation(t, "", "guess")}, "code": {l.Code}}
	status, page = b.post("/activate/confirm", right)
	wantSays(t, "with a code that is right", status, page, http.StatusTooManyRequests, "Too many attempts")
	status, page = b.handIn(map[string]string{"code": l.Code}, handed{"photo", "x.png", picture(t, 40, 40)})
	wantSays(t, "a photo", status, page, http.StatusTooManyRequests, "Too many attempts")
	rs, answer := m.do(http.MethodPost, "/activate/scan", "image/png", string(picture(t, 40, 40)))
	if p := problem(t, rs, answer); p.Reason != license.RateLimited || p.RetryAfter == 0 {
		t.Errorf("a picture: %+v", p)
	}
	rs, answer = m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+guess().Get("request")+`","code":"`+l.Code+`"}`)
	if p := problem(t, rs, answer); p.Reason != license.RateLimited {
		t.Errorf("at the API: %+v", p)
	}
	status, page = b.post("/activate/confirm", known)
	wantSays(t, "who is known", status, page, http.StatusOK, "The machine is licensed")
	clock.by.Add(int64(2 * time.Minute))
	status, page = b.post("/activate/confirm", guess())
	wantSays(t, "later", status, page, http.StatusNotFound, "This code is not known")
}

// There is no page where it is switched off.
func TestBuyersPageOff(t *testing.T) {
	t.Parallel()
	m := start(t, buyerConfig+"activate: {off: true}\n", nil)
	for _, path := range []string{"/activate", "/activate/asset/", "/activate/confirm", "/activate/scan"} {
		rs, body := m.do(http.MethodGet, path, "", "")
		if p := problem(t, rs, body); p.Reason != license.NotFound {
			t.Errorf("%s: %+v", path, p)
		}
	}
}
