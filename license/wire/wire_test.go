package wire_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Every reason must come back from the wire as the same reason with the same
// words: a client that has to guess from the status would confuse them.
func TestProblemThereAndBack(t *testing.T) {
	t.Parallel()
	for _, r := range license.Reasons() {
		e := license.Errorf(r, "detail of %s", r).WithRetryAfter(1500 * time.Millisecond).WithCause(errors.New("inner secret"))
		e.Field = "code"
		data, err := json.Marshal(wire.NewProblem(fmt.Errorf("activate: %w", e), "req-1"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "inner secret") {
			t.Errorf("%s: the cause leaks: %s", r, data)
		}
		var p wire.Problem
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatal(err)
		}
		if got := license.ReasonOf(p.Err()); got != r {
			t.Errorf("reason %s came back as %s", r, got)
		}
		if r != license.Internal && (p.Detail != "detail of "+string(r) || p.Field != "code" || p.RetryAfter != 2) {
			t.Errorf("%s: %s", r, data)
		}
	}
}

// A reason that has no place on the wire, and an error without any, are a
// fixed text.
func TestProblemHidesTheUnknown(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("dial tcp 10.0.0.1: refused"), license.Errorf(license.Forged, "x")} {
		p := wire.NewProblem(err, "req-2")
		if p.Reason != license.Internal || p.Status != 500 || strings.Contains(p.Detail, "10.0.0.1") {
			t.Errorf("%v became %+v", err, p)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	want := map[license.Reason]int{
		license.BadRequest: 400, license.Unauthorized: 401, license.Forbidden: 403, license.Suspended: 403,
		license.MachineLimit: 403, license.MachineWeak: 403, license.UnknownCode: 404, license.UnknownLicense: 404,
		license.NotFound: 404, license.Conflict: 409, license.Replayed: 409, license.RateLimited: 429,
		license.MarketplaceUnavailable: 503, license.ReadOnly: 503, license.Clock: 503, license.Internal: 500,
	}
	for r, status := range want {
		if got := wire.StatusOf(r); got != status {
			t.Errorf("%s is %d, want %d", r, got, status)
		}
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	forms := map[string]any{
		"request.json":     wire.Request{Request: "aaa.bbb.ccc", Code: "LIC-…"},
		"answer.json":      wire.Answer{LicenseID: "lic_0", InstallID: "thumb", License: "a.b.c", Keys: "d.e.f", Time: "g.h.i"},
		"deactivated.json": wire.Answer{LicenseID: "lic_0", Keys: "d.e.f", Time: "g.h.i"},
		"problem.json":     wire.NewProblem(license.FieldErrorf("code", "the code is empty"), "req-3"),
		"problem-retry.json": wire.NewProblem(
			license.Errorf(license.MarketplaceUnavailable, "the marketplace does not answer").WithRetryAfter(30*time.Second), "req-4"),
	}
	for name, form := range forms {
		data, err := json.MarshalIndent(form, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, '\n')
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(data)); d != "" {
			t.Errorf("%s changed on the wire:\n%s", name, d)
		}
	}
}

// A request holds a code; no way of printing one may show it.
func TestRequestDoesNotPrint(t *testing.T) {
	t.Parallel()
	r := wire.Request{Request: "sekrit-token", Code: "sekrit-code"}
	for _, s := range []string{fmt.Sprint(r), fmt.Sprintf("%+v", r), fmt.Sprintf("%#v", r), fmt.Sprintf("%v", &r), r.LogValue().String()} {
		if strings.Contains(s, "sekrit") {
			t.Errorf("printed %q", s)
		}
	}
}
