package buyer

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// maxShown is how long a pasted text is at most that is shown again, in bytes: no request
// comes near it.
const maxShown = 16 << 10

// formData is the first page.
type formData struct {
	Entry     entry
	Kept      *facts // of the request that was read before
	Wrong     string // with the request
	WrongCode string
	Again     time.Duration
}

func (v *visit) start() { v.show(http.StatusOK, "form", "", nil, formData{}) }

// review shows what will be done for the request in the form. It looks nothing up.
func (v *visit) review() {
	var e entry
	var f facts
	var busy error
	err := v.o.Limit.Do(v.addr(), func(limited bool) (err error) {
		if e, err = v.whole(!limited); err == nil && !e.edit {
			f, err = v.check(e)
		}
		if errors.Is(err, errBusy) {
			busy, err = err, nil
		}
		return err
	})
	if err == nil {
		err = busy
	}
	switch w, ok := errors.AsType[*wrongError](err); {
	case ok:
		v.again(e, w.kind, err)
	case err != nil:
		v.refuse(err, e)
	case e.edit:
		v.again(e, "", nil)
	default:
		v.show(http.StatusOK, "review", Path, e.hidden(), f)
	}
}

// again shows the first page with what was entered, and what is wrong with it.
func (v *visit) again(e entry, kind string, err error) {
	if len(e.Text) > maxShown {
		e.Text = ""
	}
	d, status := formData{Entry: e}, http.StatusOK
	if err != nil {
		status = wire.StatusOf(license.ReasonOf(err))
		if le, ok := errors.AsType[*license.Error](err); ok {
			v.retryAfter(le.RetryAfter)
			d.Again = le.RetryAfter
		}
	}
	if strings.HasPrefix(kind, "code") {
		d.WrongCode = kind
	} else {
		d.Wrong = kind
	}
	if req, err := token.VerifyRequest(e.Request); err == nil {
		f := v.factsOf(req, license.Code{})
		d.Kept = &f
	} else {
		d.Entry.Request = ""
	}
	v.show(status, "form", Path, append(d.Entry.hidden(), hidden{fieldEdit, "1"}), d)
}

// check reads the request and the code of an entry.
func (v *visit) check(e entry) (facts, error) {
	req, err := token.VerifyRequest(e.Request)
	if le, ok := errors.AsType[*license.Error](err); ok && le.Field == fieldCode {
		return facts{}, wrong(wrongInside)
	}
	if err != nil {
		return facts{}, &wrongError{wrongChanged, err}
	}
	code := req.Code
	if wantsCode(req.Op) && e.Code != "" {
		if code, err = license.ParseCode(e.Code); err != nil {
			kind := wrongCodeForm
			if strings.HasPrefix(strings.ToUpper(strings.TrimSpace(e.Code)), "LIC") {
				kind = wrongCodeTyping
			}
			return facts{}, &wrongError{kind, err}
		}
		if !req.Code.IsZero() && !req.Code.Equal(code) {
			return facts{}, wrong(wrongCodeDiffers)
		}
	}
	if wantsCode(req.Op) && code.IsZero() {
		return facts{}, wrong(wrongCodeMissing)
	}
	f := v.factsOf(req, code)
	f.Entered = e.hidden()
	return f, nil
}

// wantsCode reports whether an operation is asked for with a code.
func wantsCode(op token.Op) bool { return op == token.OpActivate || op == token.OpTransfer }

// facts is what a request says. Nothing of it is looked up.
type facts struct {
	Op          token.Op
	Product     string
	Name        string         // of the product, where it is sold here
	Kinds       []license.Kind // of components by which the machine is recognised
	Environment string
	Last4       string    // of the code
	Made        time.Time // by the clock of the machine
	Entered     []hidden
}

func (v *visit) factsOf(req token.Request, code license.Code) facts {
	f := facts{
		Op: req.Op, Product: req.Product, Name: v.o.Products[req.Product], Kinds: slices.Sorted(maps.Keys(req.Fingerprint.Components)),
		Environment: req.Fingerprint.Environment, Last4: code.Last4(), Made: req.IssuedAt,
	}
	if req.License != "" { // of whoever holds it: for the eye only
		if l, err := token.PeekLicense(req.License); err == nil {
			f.Last4 = l.CodeLast4
		}
	}
	return f
}
