package core

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// declared are the values of the constants of a type, as they stand in a source file.
func declared(t *testing.T, file, typ string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil || len(spec.Values) != 1 {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == typ {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			values[value] = spec.Names[0].Name
		}
		return true
	})
	return values
}

// Each reason that there is has a number of its own, and the number its name.
func TestEveryReasonHasANumber(t *testing.T) {
	reasons := declared(t, "../../../../license/reason.go", "Reason")
	if len(reasons) != len(Reasons()) || len(reasons) < 33 {
		t.Errorf("%d reasons are declared, %d are known here", len(reasons), len(Reasons()))
	}
	taken := map[Code]string{}
	for word, name := range reasons {
		code := CodeOfReason(license.Reason(word))
		switch {
		case code < 100:
			t.Errorf("license.%s has the number %d, which is no reason's", name, code)
		case taken[code] != "":
			t.Errorf("license.%s and license.%s are both %d", name, taken[code], code)
		case NameOf(code) != word:
			t.Errorf("%d is called %q, and not %q", code, NameOf(code), word)
		}
		taken[code] = name
		if err := fmt.Errorf("activate: %w", license.Errorf(license.Reason(word), "detail")); CodeOf(err) != code || Describe(err).Detail != "detail" {
			t.Errorf("an error of the reason %s is %d, not %d", word, CodeOf(err), code)
		}
	}
}

// Each kind of event that there is has a number of its own.
func TestEveryEventHasANumber(t *testing.T) {
	kinds := declared(t, "../../../events.go", "EventKind")
	taken := map[int32]string{}
	for word, name := range kinds {
		n := KindOf(client.EventKind(word))
		if n == 0 || taken[n] != "" {
			t.Errorf("%s has the number %d, as %q has", name, n, taken[n])
		}
		taken[n] = name
	}
	if len(kinds) < 10 {
		t.Errorf("only %d kinds of events were found", len(kinds))
	}
}

// What was given out stays: a number that changes breaks programs that are not compiled anew.
func TestNumbersStay(t *testing.T) {
	for reason, want := range map[license.Reason]Code{
		license.BadRequest: 100, license.UnknownCode: 101, license.UnknownLicense: 102, license.WrongProduct: 103, license.MachineLimit: 104,
		license.MachineMismatch: 105, license.MachineWeak: 106, license.Suspended: 107, license.Expired: 108, license.Released: 109,
		license.Revoked: 110, license.NotReceived: 111, license.Replaced: 112, license.CloneDetected: 113, license.TransferLimit: 114,
		license.TrialUsed: 115, license.Replayed: 116, license.Clock: 117, license.RateLimited: 118, license.Unauthorized: 119,
		license.Forbidden: 120, license.NotFound: 121, license.Conflict: 122, license.MarketplaceUnavailable: 123, license.ReadOnly: 124,
		license.Internal: 125, license.Forged: 200, license.Damaged: 201, license.NotYetValid: 202, license.LeaseOver: 203,
		license.Older: 204, license.Unreachable: 205, license.NoLicense: 206, "": 0, "made_up": ErrOther,
	} {
		if got := CodeOfReason(reason); got != want {
			t.Errorf("%s is %d, and was %d", reason, got, want)
		}
	}
	for i, want := range []string{"ok", "argument", "handle", "closed", "memory", "forked", "fault", "no_value", "other", "timeout"} {
		if got := NameOf(Code(i)); got != want {
			t.Errorf("%d is called %s, and was %s", i, got, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Description
	}{
		{
			license.Errorf(license.RateLimited, "wait").WithRetryAfter(1500 * time.Millisecond),
			Description{Code: 118, RetryAfter: 2, Reason: "rate_limited", Detail: "wait", Log: "rate_limited: wait"},
		},
		{
			fmt.Errorf("open: %w", license.FieldErrorf("server", "no address").WithCause(errors.New("cause"))),
			Description{Code: 100, Reason: "bad_request", Detail: "no address", Field: "server", Log: "open: bad_request (server): no address: cause"},
		},
		{license.Errorf("made_up", "new"), Description{Code: ErrOther, Reason: "made_up", Detail: "new", Log: "made_up: new"}},
		{errors.New("plain"), Description{Code: 125, Reason: "internal", Detail: "plain", Log: "plain"}},
		{license.Expired, Description{Code: 108, Reason: "expired", Detail: "expired", Log: "expired"}},
		{
			Refuse("name", "it is NULL"),
			Description{Code: ErrArgument, Reason: "argument", Detail: "name: it is NULL", Field: "name", Log: "argument (name): name: it is NULL"},
		},
	} {
		if got := Describe(c.err); got != c.want {
			t.Errorf("%v: %+v, not %+v", c.err, got, c.want)
		}
	}
}

// A panic becomes an error that says where it was, to the log only.
func TestGuarded(t *testing.T) {
	var none map[string]int
	for _, f := range []func() error{
		func() error { panic("a word") },
		func() error { panic(errors.New("an error")) },
		func() error { none["x"] = 1; return nil },
		func() error { var l *client.Guard; return l.Close() },
	} {
		d := Describe(Guarded(f))
		if d.Code != ErrFault || d.Reason != "fault" || strings.Contains(d.Detail, "goroutine") || !strings.Contains(d.Log, "core_test.go") {
			t.Errorf("%+v", d)
		}
	}
	if err := Guarded(func() error { return license.Expired }); !errors.Is(err, license.Expired) {
		t.Error(err)
	}
}

// Asking allocates nothing, up to the name of a feature and the answer.
func TestAskingAllocatesNothing(t *testing.T) {
	handle := handles.add(&client.License{})
	defer Close(handle)
	if n := testing.AllocsPerRun(100, func() {
		s, code := StatusAt(handle, 1_700_000_000)
		if code != OK || s.Feature("export") {
			t.Fatal(code, s)
		}
	}); n != 0 {
		t.Errorf("it allocates %v times", n)
	}
}
