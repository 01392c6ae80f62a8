package token_test

import (
	"testing"

	"github.com/seed-357fa782/licensed/license"
)

// fingerprintVector is one line of testdata/fingerprint.json.
type fingerprintVector struct {
	Product string `json:"product"`
	Salt    string `json:"salt"`
	Kind    string `json:"kind"`
	Value   string `json:"value"`
	// Normal is the value of which the digest is made; both are empty where the
	// value counts as absent.
	Normal string `json:"normal"`
	Digest string `json:"digest"`
}

// fingerprintVectors are computed here with plain crypto; normal is written by
// hand.
func fingerprintVectors() []fingerprintVector {
	var all []fingerprintVector
	for _, c := range []struct{ product, kind, value, normal string }{
		{product, "mac", "00:16:3e:0a:bc:de", "00:16:3E:0A:BC:DE"},
		{product, "mac", "00:16:3E:0A:BC:DE", "00:16:3E:0A:BC:DE"},
		{product, "disk", "  wd-wcc4n0123456 \n", "WD-WCC4N0123456"},
		{product, "disk", "\x00\x01S3Z9NB0K\x00", "S3Z9NB0K"},
		{product, "disk", "serial with blanks", "SERIAL WITH BLANKS"},
		{product, "board", "/8Q3B2X2/CN7016/", "/8Q3B2X2/CN7016/"},
		{product, "board", "Straße", "STRAßE"}, // only a–z change case
		{product, "board", "\u00a0x\u00a0", "\u00a0X\u00a0"},
		{product, "cpu", "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "INTEL(R) XEON(R) CPU E5-2680 V4 @ 2.40GHZ"},
		{product, "uuid", "4c4c4544-0051-3310-8042-b8c04f583232", "4C4C4544-0051-3310-8042-B8C04F583232"},
		{product, "os", "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "0A1B2C3D4E5F60718293A4B5C6D7E8F9"},
		{product, "custom", "cluster-7/рабочий", "CLUSTER-7/рабочий"},
		{product, "code", " hw-1234 5678\t90 ", "HW-1234567890"},
		{"cad-lite", "mac", "00:16:3E:0A:BC:DE", "00:16:3E:0A:BC:DE"},
		{"", "os", "x", "X"},
		{product, "disk", "", ""},
		{product, "disk", " \t ", ""},
		{product, "disk", "a|b", ""},
		{product, "disk", "a,b", ""},
	} {
		v := fingerprintVector{Product: c.product, Salt: salt(c.product), Kind: c.kind, Value: c.value, Normal: c.normal}
		if c.normal != "" {
			v.Digest = digest(c.product, c.kind, c.normal)
		}
		all = append(all, v)
	}
	return all
}

func TestFingerprintVectors(t *testing.T) {
	for _, v := range fingerprintVectors() {
		if got := encode(license.ProductSalt(v.Product)); got != v.Salt {
			t.Errorf("salt of %q: %s, want %s", v.Product, got, v.Salt)
		}
		got, ok := license.DigestValue(license.ProductSalt(v.Product), license.Kind(v.Kind), v.Value)
		if string(got) != v.Digest || ok != (v.Digest != "") {
			t.Errorf("%s %q: %q, want %q", v.Kind, v.Value, got, v.Digest)
		}
		if ok && !got.Valid() {
			t.Errorf("%s %q: the digest is not valid", v.Kind, v.Value)
		}
	}
	if _, ok := license.DigestValue(license.ProductSalt(product), license.KindDisk, "\xff"); ok {
		t.Error("what is not UTF-8 has a digest")
	}
	golden(t, "fingerprint.json", map[string]any{"vectors": fingerprintVectors()})
}
