package koogallery_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

// TestParsePublished reads the bodies which the pages print.
func TestParsePublished(t *testing.T) {
	const order, line, instance = "CS2211181819B4LVS", "CS2211181819B4LVS-000001", "10e758d0-31ad-4c4b-8f1b-81d03469a10e"
	want := map[string]koogallery.Message{
		"published-newInstance": koogallery.NewInstance{
			OrderID: order, OrderLineID: line, BusinessID: "87b94795-0603-4e24-8ae5-69420d60e3c8", TestFlag: true,
		},
		"published-refreshInstance": koogallery.RefreshInstance{
			Scene: koogallery.SceneRenewal, OrderID: order, OrderLineID: line, InstanceID: instance,
			ProductID: "OFFI461867333479178240", ExpireTime: time.Date(2022, 11, 24, 2, 36, 18, 0, time.UTC), TestFlag: true,
		},
		"published-updateInstanceStatus": koogallery.UpdateInstanceStatus{InstanceID: instance, Status: koogallery.StatusFreeze, TestFlag: true},
		"published-releaseInstance":      koogallery.ReleaseInstance{InstanceID: instance, OrderID: order, OrderLineID: line, TestFlag: true},
		"published-orderNotify":          koogallery.OrderNotify{OrderID: order, OrderLineID: line, TestFlag: true},
	}
	published := vectors(t).Published
	if len(published) != len(want) {
		t.Errorf("%d bodies, want %d", len(published), len(want))
	}
	for _, v := range published {
		t.Run(v.ID, func(t *testing.T) {
			got, err := koogallery.ParseMessage(callback(t, v.Body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[v.ID], got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseInstance(t *testing.T) {
	start, end := time.Date(2023, 10, 27, 10, 30, 15, 0, time.UTC), time.Date(2024, 10, 27, 10, 30, 15, 0, time.UTC)
	device := koogallery.NewDeviceFingerprint("8e6034e2|x|y|60e1")
	for _, tt := range []struct {
		name, body string
		want       koogallery.Message
	}{
		{
			"published application", `{"activity":"getLicenseAsync","eventId":"8c8","instanceId":"RA2","effectiveTime":"2023-10-27 10:30:15 z","expireTime":"2024-10-27 10:30:15 z","deviceFingerprint":"8e6034e2|x|y|60e1"}`,
			koogallery.GetLicenseAsync{InstanceID: "RA2", EventID: "8c8", EffectiveTime: start, ExpireTime: end, DeviceFingerprint: device},
		},
		{
			"application without end and device", `{"activity":"getLicenseAsync","eventId":"8c8","instanceId":"RA2","effectiveTime":"20231027103015","expireTime":"","testFlag":1}`,
			koogallery.GetLicenseAsync{InstanceID: "RA2", EventID: "8c8", EffectiveTime: start, TestFlag: true},
		},
		{
			"trial to formal", `{"activity":"refreshInstance","scene":"TRIAL_TO_FORMAL","orderId":"o","orderLineId":"l","instanceId":"i","expireTime":"20241027103015"}`,
			koogallery.RefreshInstance{Scene: koogallery.SceneTrialToFormal, OrderID: "o", OrderLineID: "l", InstanceID: "i", ExpireTime: end},
		},
		{
			"renewal with change", `{"activity":"refreshInstance","scene":"RENEWAL_CHANGE","orderId":"o","orderLineId":"l","instanceId":"i","expireTime":"20241027103015"}`,
			koogallery.RefreshInstance{Scene: koogallery.SceneRenewalChange, OrderID: "o", OrderLineID: "l", InstanceID: "i", ExpireTime: end},
		},
		{"unfreeze", `{"activity":"updateInstanceStatus","instanceId":"i","status":"UNFREEZE"}`, koogallery.UpdateInstanceStatus{InstanceID: "i", Status: koogallery.StatusUnfreeze}},
		{"retention over", `{"activity":"releaseInstance","instanceId":"i"}`, koogallery.ReleaseInstance{InstanceID: "i"}},
		{"order without a line", `{"activity":"orderNotify","orderId":"o"}`, koogallery.OrderNotify{OrderID: "o"}},
		{
			"older design's members", `{"activity":"newInstance","orderId":"o","orderLineId":"l","businessId":"b","buyerInfo":{"email":"e"},"orderInfo":[{"orderAmount":12.78}]}`,
			koogallery.NewInstance{OrderID: "o", OrderLineID: "l", BusinessID: "b"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := koogallery.ParseMessage(callback(t, tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Activity() != tt.want.Activity() || got.Test() != strings.Contains(tt.body, "testFlag") {
				t.Errorf("activity %s, test %v", got.Activity(), got.Test())
			}
		})
	}
}

type rule struct {
	name, good string
	max        int // 0: the value has a form of its own
	optional   bool
}

var testFlagRule = rule{"testFlag", "0", 2, true}

// activityRules are the documented tables.
var activityRules = map[koogallery.Activity][]rule{
	koogallery.ActivityRefreshLicenseCode: {
		{"scene", "RENEWAL", 0, false},
		{"orderId", "o", 64, false},
		{"orderLineId", "l", 64, false},
		{"license", "PL1", 64, false},
		{"productId", "p", 64, true},
		{"expireTime", "20300101000000", 0, false},
		testFlagRule,
	},
	koogallery.ActivityUpdateLicenseCodeStatus: {{"license", "PL1", 64, false}, {"status", "FREEZE", 0, false}, testFlagRule},
	koogallery.ActivityReleaseLicenseCode: {
		{"license", "PL1", 64, false}, {"orderId", "o", 64, true}, {"orderLineId", "l", 64, true}, testFlagRule,
	},
	koogallery.ActivityNewInstance: {
		{"orderId", "o", 64, false}, {"orderLineId", "l", 64, false}, {"businessId", "b", 64, false}, testFlagRule,
	},
	koogallery.ActivityRefreshInstance: {
		{"scene", "RENEWAL", 0, false},
		{"orderId", "o", 64, false},
		{"orderLineId", "l", 64, false},
		{"instanceId", "i", 64, false},
		{"productId", "p", 64, true},
		{"expireTime", "20300101000000", 0, false},
		testFlagRule,
	},
	koogallery.ActivityUpdateInstanceStatus: {{"instanceId", "i", 64, false}, {"status", "FREEZE", 0, false}, testFlagRule},
	koogallery.ActivityReleaseInstance: {
		{"instanceId", "i", 64, false}, {"orderId", "o", 64, true}, {"orderLineId", "l", 64, true}, testFlagRule,
	},
	koogallery.ActivityGetLicenseAsync: {
		{"instanceId", "i", 64, false},
		{"effectiveTime", "20300101000000", 0, false},
		{"expireTime", "20310101000000", 0, true},
		{"eventId", "e", 64, false},
		{"deviceFingerprint", "d", koogallery.MaxDeviceFingerprint, true},
		testFlagRule,
	},
	koogallery.ActivityOrderNotify: {{"orderId", "o", 64, false}, {"orderLineId", "l", 64, true}, testFlagRule},
}

func goodBody(activity koogallery.Activity) map[string]any {
	body := map[string]any{"activity": string(activity)}
	for _, r := range activityRules[activity] {
		body[r.name] = r.good
	}
	return body
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTables walks every field of every documented table: absent, null, empty,
// as long as allowed, longer, nested.
func TestTables(t *testing.T) {
	for activity, rules := range activityRules {
		t.Run(string(activity), func(t *testing.T) {
			try := func(name string, value any, refused bool) {
				t.Helper()
				body := goodBody(activity)
				if body[name] = value; value == "absent" {
					delete(body, name)
				}
				msg, err := koogallery.ParseMessage(callback(t, encode(t, body)))
				what := fmt.Sprintf("%.20v", value)
				if !refused {
					if err != nil || msg.Activity() != activity {
						t.Errorf("%s %s: %v", name, what, err)
					}
					return
				}
				re, ok := errors.AsType[*koogallery.ResultError](err)
				if !ok || re.Code != koogallery.ResultInvalidParam || re.Field != name || msg != nil {
					t.Errorf("%s %s: message %v, error %v", name, what, msg, err)
				}
			}
			for _, r := range rules {
				try(r.name, r.good, false)
				for _, none := range []any{"absent", nil, ""} {
					try(r.name, none, !r.optional)
				}
				try(r.name, map[string]any{"a": "b"}, true)
				try(r.name, []any{r.good}, true)
				switch {
				case r.name == "testFlag":
					try(r.name, 1, false)
					try(r.name, "11", true)
					try(r.name, "001", true)
				case r.max > 0:
					try(r.name, strings.Repeat("x", r.max), false)
					try(r.name, strings.Repeat("x", r.max+1), true)
					try(r.name, 12, false) // a number is read as its text
				default:
					try(r.name, "something else", true)
					try(r.name, true, true)
				}
			}
		})
	}
}

// TestCutReorderedRepeated: no cut body is a message, and order and repetition
// of fields do not matter beyond the last one counting.
func TestCutReorderedRepeated(t *testing.T) {
	for activity := range activityRules {
		t.Run(string(activity), func(t *testing.T) {
			good := goodBody(activity)
			body := encode(t, good)
			want, err := koogallery.ParseMessage(callback(t, body))
			if err != nil {
				t.Fatal(err)
			}
			for n := range len(body) {
				if msg, err := koogallery.ParseMessage(callback(t, body[:n])); !errors.Is(err, koogallery.ErrPayload) || msg != nil {
					t.Fatalf("cut to %q: %v, %v", body[:n], msg, err)
				}
			}
			var members []string
			for name, value := range good {
				members = append(members, encode(t, name)+":"+encode(t, value))
			}
			slices.Sort(members)
			slices.Reverse(members)
			doubled := slices.Concat([]string{`"license":"other","instanceId":{},"status":7`}, members, members)
			for _, order := range [][]string{members, doubled} {
				got, err := koogallery.ParseMessage(callback(t, "{"+strings.Join(order, ",")+"}"))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestParseInstantForms(t *testing.T) {
	east := time.FixedZone("UTC+8", 8*3600)
	utc, home := time.Date(2023, 10, 27, 10, 30, 15, 0, time.UTC), time.Date(2023, 10, 27, 2, 30, 15, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"20231027103015":           home,
		"20231027103015999":        home,
		"2023-10-27 10:30:15":      home,
		"2023-10-27 10:30:15 z":    utc,
		"2023-10-27 10:30:15z":     utc,
		"2023-10-27 10:30:15 Z":    utc,
		"2023-10-27 10:30:15Z":     utc,
		"2023-10-27 10:30:15 UTC":  utc,
		"2023-10-27 10:30:15 GMT":  utc,
		"":                         {},
		"2023-10-27 10:30:15 ":     {},
		"2023-10-27 10:30:15  z":   {},
		"2023-10-27 10:30:15 CST":  {}, // four zones have that name
		"2023-10-27 10:30:15 zz":   {},
		"2023-10-27 9:30:15 zz":    {},
		"2023-10-27 9:30:15.5":     {},
		"2023-10-27 10:30:15.5":    {},
		"2023-02-29 10:30:15 z":    {},
		"2023-10-27 24:00:00 z":    {},
		"2023-10-27 10:30:60 z":    {},
		"0000-10-27 10:30:15 z":    {},
		"2023-10-27T10:30:15Z":     {},
		"2023/10/27 10:30:15 z":    {},
		"２023-10-27 10:30:15 z":    {},
		"202310271030151":          {},
		"20231027103015 z":         {},
		"-0231027103015":           {},
		"2023-10-27 +1:30:15 z":    {},
		"2023-10-27 10:30:15+0800": {},
	} {
		got, ok := koogallery.ParseInstant(s, east)
		if ok == want.IsZero() || ok && got != want {
			t.Errorf("%q: %v, %v; want %v", s, got, ok, want)
		}
	}
}

// TestApplicationTimesAreUTC: the table says so, whatever the setting.
func TestApplicationTimesAreUTC(t *testing.T) {
	p := koogallery.Parser{Location: time.FixedZone("UTC+8", 8*3600)}
	msg, err := p.Parse(callback(t, `{"activity":"getLicenseAsync","instanceId":"i","eventId":"e","effectiveTime":"20231027103015","expireTime":"2024-10-27 10:30:15"}`))
	if err != nil {
		t.Fatal(err)
	}
	m := msg.(koogallery.GetLicenseAsync)
	if want := time.Date(2023, 10, 27, 10, 30, 15, 0, time.UTC); m.EffectiveTime != want || m.ExpireTime != want.AddDate(1, 0, 0) {
		t.Errorf("%v to %v", m.EffectiveTime, m.ExpireTime)
	}
	msg, err = p.Parse(callback(t, `{"activity":"refreshInstance","scene":"RENEWAL","orderId":"o","orderLineId":"l","instanceId":"i","expireTime":"20231027103015"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := msg.(koogallery.RefreshInstance).ExpireTime, time.Date(2023, 10, 27, 2, 30, 15, 0, time.UTC); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestDeviceFingerprintLimit: bytes, not characters.
func TestDeviceFingerprintLimit(t *testing.T) {
	body := goodBody(koogallery.ActivityGetLicenseAsync)
	body["deviceFingerprint"] = strings.Repeat("码", koogallery.MaxDeviceFingerprint/3)
	if _, err := koogallery.ParseMessage(callback(t, encode(t, body))); err != nil {
		t.Error(err)
	}
	body["deviceFingerprint"] = strings.Repeat("码", koogallery.MaxDeviceFingerprint/3+1)
	_, err := koogallery.ParseMessage(callback(t, encode(t, body)))
	wantCode(t, err, koogallery.ResultInvalidParam, koogallery.ErrField)
}

func TestVectorsDeviceFingerprint(t *testing.T) {
	for _, v := range vectors(t).Devices {
		t.Run(v.Fingerprint, func(t *testing.T) {
			parts := koogallery.DeviceParts{MACs: v.MAC, Disks: v.Disk, Board: v.Board, CPU: v.CPU}
			f := parts.Fingerprint()
			if f.Reveal() != v.Fingerprint {
				t.Errorf("got %s", f.Reveal())
			}
			back, ok := f.Parts()
			if !ok || !back.Fingerprint().Equal(f) || len(back.MACs) != len(v.MAC) || len(back.Disks) != len(v.Disk) {
				t.Errorf("parts %+v, %v", back, ok)
			}
		})
	}
	for _, opaque := range []string{"", "8e6034e260e1", "a|b|c", "a|b|c|d|e"} {
		if parts, ok := koogallery.NewDeviceFingerprint(opaque).Parts(); ok {
			t.Errorf("%q has parts %+v", opaque, parts)
		}
	}
}

func TestNewSecretsAreRedacted(t *testing.T) {
	for _, s := range []any{
		koogallery.NewDeviceFingerprint("clear"), koogallery.NewLicenseText("clear"), koogallery.NewPersonalData("clear"),
		koogallery.GetLicenseAsync{DeviceFingerprint: koogallery.NewDeviceFingerprint("clear")},
		koogallery.V1GetLicense{MobilePhone: koogallery.NewPersonalData("clear"), Email: koogallery.NewPersonalData("clear")},
		koogallery.Result{License: koogallery.NewLicenseText("clear")},
		koogallery.Order{Buyer: koogallery.Buyer{Email: koogallery.NewPersonalData("clear")}},
		koogallery.CodeResult{Code: koogallery.NewCode("clear")},
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
			if got := fmt.Sprintf(format, s); strings.Contains(got, "clear") {
				t.Errorf("%T as %s: %s", s, format, got)
			}
		}
	}
}

// TestVectorsMeaning reads the body of every authentic vector.
func TestVectorsMeaning(t *testing.T) {
	other := map[string]koogallery.Activity{
		"refresh-renewal": koogallery.ActivityRefreshLicenseCode, "refresh-cancel-renewal": koogallery.ActivityRefreshLicenseCode,
		"debug-refresh": koogallery.ActivityRefreshLicenseCode, "chinese-text": koogallery.ActivityRefreshLicenseCode,
		"status-freeze": koogallery.ActivityUpdateLicenseCodeStatus, "status-unfreeze": koogallery.ActivityUpdateLicenseCodeStatus,
		"expire-17-digits": koogallery.ActivityRefreshInstance, "get-license-async": koogallery.ActivityGetLicenseAsync,
		"new-instance": koogallery.ActivityNewInstance, "empty-object": "", "empty-body": "", "unknown-activity": "",
	}
	for _, v := range vectors(t).CallbackPost {
		want, listed := other[v.ID]
		if !listed {
			want = koogallery.ActivityReleaseLicenseCode
		}
		msg, err := koogallery.ParseMessage(callback(t, string(v.Body)))
		if want == "" {
			if koogallery.ResultOf(err).Code != koogallery.ResultInvalidParam || msg != nil {
				t.Errorf("%s: %v, %v", v.ID, msg, err)
			}
			continue
		}
		if err != nil || msg.Activity() != want {
			t.Errorf("%s: %v, %v; want %s", v.ID, msg, err, want)
		}
	}
}
