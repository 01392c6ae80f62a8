package license_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
)

// TestIDsSort: ids come in the order in which they were made, whatever the
// clock does.
func TestIDsSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ids license.IDs
		at, last := now, ""
		for range 50 {
			at = at.Add(time.Duration(rapid.IntRange(-2, 3).Draw(t, "ms")) * time.Millisecond)
			id, err := ids.New(license.LicensePrefix, at)
			if err != nil {
				t.Fatal(err)
			}
			if id <= last || !license.IsLicenseID(id) {
				t.Fatalf("%q after %q", id, last)
			}
			last = id
		}
	})
	ids := license.IDs{Random: bytes.NewReader(make([]byte, 16))}
	id, err := ids.New("x_", time.UnixMilli(1))
	if err != nil || id != "x_00000000010000000000000000" {
		t.Errorf("%s %v", id, err)
	}
	if _, err := ids.New("x_", now); err != nil {
		t.Error(err)
	}
	if _, err := ids.New("x_", now); err == nil {
		t.Error("an id of no random bits")
	}
	for _, bad := range []string{"", "lic_", "lic_0", "seat_00000000020000000000000000", "lic_0000000002000000000000000u", "LIC-00000"} {
		if license.IsLicenseID(bad) {
			t.Errorf("%q is an id", bad)
		}
	}
}

func TestFeatures(t *testing.T) {
	var fs license.Features
	if err := json.Unmarshal([]byte(`{"on":true,"n":-1.5e2,"s":"g\u006fld","off":false,"o":{},"l":[1],"z":null}`), &fs); err != nil {
		t.Fatal(err)
	}
	if len(fs) != 3 || !fs["on"].On() || fs["off"].On() {
		t.Errorf("%v", fs)
	}
	if n, ok := fs["n"].Number(); !ok || n != -150 {
		t.Error(n)
	}
	if s, ok := fs["s"].Text(); !ok || s != "gold" {
		t.Error(s)
	}
	if _, ok := fs["on"].Number(); ok {
		t.Error("true is a number")
	}
	if _, ok := fs["n"].Text(); ok {
		t.Error("a number is a text")
	}
	for in, want := range map[string]string{"true": "true", "10": "10", "-1.5e2": "-1.5e2", "gold": `"gold"`, " 10": `" 10"`, `"5"`: `"\"5\""`, "null": `"null"`, "": `""`} {
		got, err := json.Marshal(license.ParseFeature(in))
		if err != nil || string(got) != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
		if license.ParseFeature(in).String() != in {
			t.Errorf("%q is shown as %q", in, license.ParseFeature(in))
		}
	}
	for _, bad := range []string{"", " 1", "1 ", `"1"`, ` "1"`, "null", "0x1", "1e", "NaN", strings.Repeat("1", 65)} {
		if _, err := license.FeatureNumber(bad); license.ReasonOf(err) != license.BadRequest {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := json.Unmarshal([]byte(`[]`), &fs); err == nil {
		t.Error("a list is features")
	}
}

func TestHolds(t *testing.T) {
	for h, want := range map[license.Holds][]string{
		0: {}, license.HoldMerchant: {"merchant"}, license.HoldMarketplace: {"marketplace"},
		license.HoldMerchant | license.HoldMarketplace: {"marketplace", "merchant"},
	} {
		if diff := cmp.Diff(want, h.Names()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("disk on fire")
	err := fmt.Errorf("activate lic_1: %w", license.Errorf(license.MachineLimit, "%d machines", 2).WithCause(cause).WithRetryAfter(time.Minute))
	if !errors.Is(err, license.MachineLimit) || !errors.Is(err, cause) || errors.Is(err, license.NotFound) || license.ReasonOf(err) != license.MachineLimit {
		t.Error(err)
	}
	var e *license.Error
	if !errors.As(err, &e) || e.RetryAfter != time.Minute || e.Detail != "2 machines" {
		t.Errorf("%+v", e)
	}
	if want := "activate lic_1: machine_limit: 2 machines: disk on fire"; err.Error() != want {
		t.Errorf("%q", err)
	}
	if got := license.FieldErrorf("code", "empty").Error(); got != "bad_request (code): empty" {
		t.Error(got)
	}
	if license.ReasonOf(nil) != "" || license.ReasonOf(cause) != license.Internal || license.ReasonOf(license.NotFound) != license.NotFound {
		t.Error("ReasonOf")
	}
	all := license.Reasons()
	seen := slices.Clone(all)
	slices.Sort(seen)
	if len(slices.Compact(seen)) != len(all) {
		t.Error("a reason occurs twice")
	}
	for _, s := range license.States() {
		refusal := s.Refusal()
		if refusal != "" && !slices.Contains(all, refusal) {
			t.Errorf("%s refuses with %q, which does not travel", s, refusal)
		}
		if want := refusal; want != "" && license.Refused(s).Reason != want {
			t.Errorf("%s: %v", s, license.Refused(s))
		}
	}
}

func TestLicenseClone(t *testing.T) {
	l := license.License{
		Code: license.StoredCode{Index: []byte{1}, Sealed: []byte{1}}, Features: license.Features{"a": license.FeatureOn()}, Transfers: []time.Time{now},
	}
	c := l.Clone()
	c.Code.Index[0], c.Code.Sealed[0], c.Transfers[0] = 2, 2, now.Add(day)
	c.Features["b"] = license.FeatureOn()
	if l.Code.Index[0] != 1 || l.Code.Sealed[0] != 1 || len(l.Features) != 1 || !l.Transfers[0].Equal(now) {
		t.Error("the copy shares something")
	}
}
