package proofpage_test

import (
	"bytes"
	"crypto/ed25519"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/proofpage"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func render(t *testing.T, edit func(*token.Delivery)) (token.DeliveryFile, string) {
	t.Helper()
	key, err := token.NewSigningKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 18, 30, 0, 0, time.UTC)
	digest, _ := license.DigestCode(license.ProductSalt("cad-pro"), "8F6034E2")
	d := token.Delivery{
		Issuer: "https://licence.example.com", ID: "prf_01", IssuedAt: at, LicenseID: "lic_01", Product: "cad-pro", Customer: "示例科技有限公司",
		Channel: "koogallery", Order: "CS2211181819B4LVS", Line: "CS2211181819B4LVS-000001", CodeLast4: "9ABC", OrderedAt: at,
		LicensedAt: at, ActivatedAt: at, DeliveredAt: at, ExpiresAt: at.AddDate(1, 0, 0), MachineCount: 1,
		Text: bytes.Repeat([]byte{0xcd}, 32), TextAt: at.Add(time.Hour),
		Machines: []token.DeliveredTo{{Install: "dev_1", At: at, Device: digest, File: bytes.Repeat([]byte{0xab}, 32), FileAt: at}},
	}
	edit(&d)
	raw, err := token.SignDelivery(d, key)
	if err != nil {
		t.Fatal(err)
	}
	f := token.DeliveryFile{Delivery: raw, Keys: raw} // any token: the page judges none
	page, err := proofpage.Render(f)
	if err != nil {
		t.Fatal(err)
	}
	return f, string(page)
}

// The page shows what is signed, in both languages, and holds it.
func TestPage(t *testing.T) {
	f, page := render(t, func(*token.Delivery) {})
	for _, want := range []string{
		"交付证明", "Proof of delivery", "CS2211181819B4LVS-000001", "示例科技有限公司", "…9ABC", "lic_01", "2026-03-01 18:30:00 UTC", "2026-03-02 02:30:00",
		strings.Repeat("ab", 32), strings.Repeat("cd", 32), "2026-03-01 19:30:00 UTC", "dev_1", "prf_01",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if back, err := token.ParseDeliveryFile([]byte(page)); err != nil || back != f {
		t.Errorf("the page is read as %+v, %v", back, err)
	}
}

// The page needs nothing from elsewhere, runs nothing, and shows what it is given
// as text.
func TestPageIsInert(t *testing.T) {
	f, page := render(t, func(d *token.Delivery) {
		d.History = []token.Supervised{{At: d.IssuedAt, Stage: license.StageRejected, Note: "<script>alert(1)</script> -----BEGIN LICENSE DELIVERY----- AAAA -----END LICENSE DELIVERY-----"}}
		d.Customer = `<script>alert(1)</script><img src=x onerror=alert(1)>`
		d.Channel = `-----END LICENSE DELIVERY-----`
		d.Instance = `</pre>` + "\n-----BEGIN LICENSE DELIVERY-----\nAAAA\n-----END LICENSE DELIVERY-----\n"
	})
	for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(page, -1) {
		if regexp.MustCompile(`(?i)^<(script|img|iframe|object|embed|form|link|base|svg|a)\b|\s(on\w+|src|href|action|data|srcset)\s*=`).MatchString(tag) {
			t.Errorf("the page holds %s", tag)
		}
	}
	if found := regexp.MustCompile(`(?i)url\(|@import|expression\(`).FindString(page); found != "" {
		t.Errorf("its style holds %q", found)
	}
	if !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'"`) {
		t.Error("the page has no policy")
	}
	if back, err := token.ParseDeliveryFile([]byte(page)); err != nil || back != f {
		t.Errorf("the page is read as another proof: %+v, %v", back, err)
	}
}

// What the buyer rejected is listed with its reason, and a list that was cut says so
// in both languages.
func TestPageOfRejections(t *testing.T) {
	_, page := render(t, func(d *token.Delivery) {
		d.Rejections, d.MachineCount = 3, 70
		d.History = []token.Supervised{
			{At: d.IssuedAt, EnteredAt: d.IssuedAt.Add(time.Hour), Stage: license.StageDelivered},
			{At: d.IssuedAt, Stage: license.StageRejected, Note: "it does not start"},
		}
		d.Machines[0].Earlier = []token.HandedOut{{File: bytes.Repeat([]byte{0xcd}, 32), At: d.IssuedAt}}
	})
	for _, want := range []string{
		"it does not start", "驳回", "rejected", "2026-03-01 19:30:00 UTC", "买家共驳回 3 次", "rejected 3 time(s)", "仅列出最近 1 台", "the last 1 are shown", strings.Repeat("cd", 32),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
}

// What is not known is left out, and a licence without end says so.
func TestPageOfLittle(t *testing.T) {
	_, page := render(t, func(d *token.Delivery) {
		*d = token.Delivery{Issuer: d.Issuer, ID: d.ID, IssuedAt: d.IssuedAt, LicenseID: d.LicenseID, Product: d.Product}
	})
	if strings.Contains(page, "激活时间") || strings.Contains(page, "订单号") || !strings.Contains(page, "perpetual") || strings.Contains(page, "0001-01-01") {
		t.Errorf("the page shows %s", page)
	}
}

func TestPageRefused(t *testing.T) {
	for _, raw := range []string{"", "a.b.c"} {
		if _, err := proofpage.Render(token.DeliveryFile{Delivery: raw}); license.ReasonOf(err) != license.Damaged && license.ReasonOf(err) != license.Forged {
			t.Errorf("%q: %v", raw, err)
		}
	}
}
