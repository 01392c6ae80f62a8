package buyer

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/refusals"
)

// While one photo is read, and while many are held, others are told to come back. That
// counts for nobody.
func TestBusy(t *testing.T) {
	t.Parallel()
	p, err := New(Options{Limit: refusals.New(2, nil), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const addr = "" // no listener has named one
	mux := http.NewServeMux()
	p.Register(mux)
	var photo bytes.Buffer
	if err := png.Encode(&photo, image.NewGray(image.Rect(0, 0, 9, 9))); err != nil {
		t.Fatal(err)
	}
	send := func(path, kind string, body []byte) *httptest.ResponseRecorder {
		rq := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
		rq.Header.Set("Content-Type", kind)
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, rq)
		return rec
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("photo", "x.png")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(photo.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	for name, busy := range map[string]func() (free func()){
		"one is read": func() func() { p.reading <- struct{}{}; return func() { <-p.reading } },
		"many are held": func() func() {
			for i := range maxUploads {
				p.sending[fmt.Sprint("another ", i)] = true
			}
			return func() { clear(p.sending) }
		},
		"this address sends one": func() func() {
			p.sending[addr] = true
			return func() { clear(p.sending) }
		},
	} {
		free := busy()
		for range 3 { // more than would be let in if it counted
			if rec := send(Path, w.FormDataContentType(), form.Bytes()); rec.Code != http.StatusTooManyRequests ||
				!strings.Contains(rec.Body.String(), "Photos of others are being read") || rec.Header().Get("Retry-After") == "" {
				t.Errorf("%s: HTTP %d, %v: %s", name, rec.Code, rec.Header(), rec.Body)
			}
			if rec := send(pathScan, "image/png", photo.Bytes()); rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "5" {
				t.Errorf("%s: HTTP %d, %v: %s", name, rec.Code, rec.Header(), rec.Body)
			}
		}
		free()
	}
	for range 2 {
		if rec := send(pathScan, "image/png", photo.Bytes()); rec.Code != http.StatusBadRequest {
			t.Errorf("afterwards: HTTP %d: %s", rec.Code, rec.Body)
		}
	}
	if rec := send(pathScan, "image/png", photo.Bytes()); rec.Code != http.StatusTooManyRequests {
		t.Errorf("pictures without a code do not count: HTTP %d", rec.Code)
	}
	if len(p.sending)+len(p.reading) != 0 {
		t.Error("a place was not given back")
	}
}
