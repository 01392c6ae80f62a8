package buyer

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// ask hands a request in, as POST /v1/requests does. The same again has the same
// answer, so that a form may be sent twice.
func (v *visit) ask() (entry, authority.Answer, error) {
	var e entry
	var ans authority.Answer
	err := v.o.Limit.Do(v.addr(), func(knownOnly bool) (err error) {
		if e, err = v.small(); err != nil {
			return err
		}
		rq := wire.Request{Request: e.Request}
		if req, err := token.VerifyRequest(e.Request); err == nil && wantsCode(req.Op) {
			rq.Code = e.Code
		}
		code, err := rq.BesideCode()
		if err != nil {
			return err
		}
		ans, err = v.o.Authority.Request(v.r.Context(), rq.Request, code, authority.Caller{Addr: v.addr(), KnownOnly: knownOnly})
		return err
	})
	return e, ans, err
}

// resultData is what a request was answered with.
type resultData struct {
	Op      token.Op
	Name    string // of the product
	Entered []hidden
	File    string // its name
	Text    string // the file itself

	License  token.License // zero after a deactivation
	Features []string
	Endless  bool // it has no end
	Lease    bool // it has to be renewed from time to time
}

// confirm does what a request asks for, and shows what came of it.
func (v *visit) confirm() {
	e, d, ok := v.answered()
	if !ok {
		return
	}
	v.show(http.StatusOK, "result", pathConfirm, e.hidden(), d)
}

// answered asks for what was entered, and says what came of it. Where that is refused it
// answers with why.
func (v *visit) answered() (e entry, d resultData, ok bool) {
	e, ans, err := v.ask()
	if err == nil {
		d, err = v.result(e, ans)
	}
	if err != nil {
		v.refuse(err, e)
	}
	return e, d, err == nil
}

func (v *visit) result(e entry, ans authority.Answer) (resultData, error) {
	req, err := token.VerifyRequest(e.Request)
	if err != nil {
		return resultData{}, err
	}
	var file bytes.Buffer
	if err := operation.LicenseFile.Marshal(&file, wire.Answer(ans)); err != nil {
		return resultData{}, err
	}
	d := resultData{Op: req.Op, Name: v.o.Products[req.Product], Entered: e.hidden(), File: fileName(req.Product, "receipt"), Text: file.String()}
	if d.Name == "" {
		d.Name = req.Product
	}
	if ans.License == "" {
		return d, nil
	}
	if d.License, err = token.PeekLicense(ans.License); err != nil { // we have just signed it
		return resultData{}, err
	}
	d.File = fileName(req.Product, d.License.CodeLast4)
	d.Features = slices.Sorted(maps.Keys(d.License.Features))
	d.Endless = !d.License.Dates.ExpiresAt.Before(license.Forever)
	d.Lease = d.License.Dates.LeaseUntil.Before(license.Forever)
	return d, nil
}

// fileName is the name of an answer, of characters that every system takes.
func fileName(product, what string) string {
	keep := func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}
	name := strings.Map(keep, product)
	if what != "" {
		name += "-" + strings.Map(keep, what)
	}
	return strings.TrimLeft(name, "-") + ".lic"
}

// download answers with the file that confirm has told of: the request is handed in
// again.
func (v *visit) download() {
	_, d, ok := v.answered()
	if !ok {
		return
	}
	h := v.w.Header()
	v.site.Headers(h)
	h.Set("Content-Type", wire.TypePEM)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": d.File}))
	h.Set("Content-Length", strconv.Itoa(len(d.Text)))
	_, _ = io.WriteString(v.w, d.Text) // the browser may be gone
}

// scan reads a picture of the camera, for browsers that read no QR codes. It answers
// {"request": TEXT}, or with a problem.
func (p *Pages) scan(w http.ResponseWriter, r *http.Request) {
	if err := p.cross.Check(r); err != nil {
		operation.WriteProblem(w, r, license.Errorf(license.Forbidden, "a picture from another site is not taken").WithCause(err))
		return
	}
	var text string
	var busy error
	err := p.o.Limit.Do(operation.ClientAddr(r.Context()), func(limited bool) (err error) {
		if limited {
			return errTooMany
		}
		if text, err = p.frame(w, r); errors.Is(err, errBusy) {
			busy, err = err, nil
		}
		return err
	})
	if err == nil {
		if err = busy; err == nil {
			p.o.Limit.Count(operation.ClientAddr(r.Context())) // it has cost as much as one that cannot be read
		}
	}
	p.site.Headers(w.Header())
	if err != nil {
		operation.WriteProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", wire.TypeJSON)
	_ = json.NewEncoder(w).Encode(map[string]string{fieldRequest: text}) // the browser may be gone
}

func (p *Pages) frame(w http.ResponseWriter, r *http.Request) (string, error) {
	release, err := p.hold(w, r)
	if err != nil {
		return "", err
	}
	defer release()
	data, err := readUpTo(r.Body, nil, frameLimits.File)
	if err != nil {
		return "", err
	}
	return p.photo(r.Context(), data, frameLimits, frameTime)
}
