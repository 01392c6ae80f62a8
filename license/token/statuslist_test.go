package token_test

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func statusList(s token.Statuses) token.StatusList {
	return token.StatusList{
		Issuer: issuer, URI: listURI, IssuedAt: signedAt, ExpiresAt: signedAt.Add(day), TTL: 15 * time.Minute, List: s.Compress(),
	}
}

// TestStatusesAreTheStandardsBytes: the packing is compared with the standard's
// own example, the compression with what any zlib reads.
func TestStatusesAreTheStandardsBytes(t *testing.T) {
	s := token.NewStatuses(len(exampleStatuses))
	for i, v := range exampleStatuses {
		s.Set(i, license.ListStatus(v))
	}
	if want := (token.Statuses{0xc9, 0x44, 0xf9}); !bytes.Equal(s, want) {
		t.Errorf("packed as %x, want %x", s, want)
	}
	packed, err := decodeSegment(s.Compress())
	if err != nil {
		t.Fatal(err)
	}
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if back, err := io.ReadAll(r); err != nil || !bytes.Equal(back, s) {
		t.Errorf("inflates to %x (%v)", back, err)
	}
	s.Set(1, license.StatusValid)
	if got, ok := s.At(1); !ok || got != license.StatusValid {
		t.Errorf("set back to %d", got)
	}
	for i, v := range exampleStatuses {
		if got, _ := s.At(i); i != 1 && int(got) != v {
			t.Errorf("status %d became %d with its neighbour", i, got)
		}
	}
}

func TestListStatusReasons(t *testing.T) {
	for status, want := range map[license.ListStatus]license.Reason{0: "", 1: license.Revoked, 2: license.Suspended, 3: license.Revoked} {
		if got := status.Reason(); got != want {
			t.Errorf("%d is %q, want %q", status, got, want)
		}
	}
}

// TestTheWorstListFits: whatever is revoked, a list of the fixed length can be
// signed, and read by every verifier.
func TestTheWorstListFits(t *testing.T) {
	s := token.NewStatuses(license.StatusListLength)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(s)
	l := statusList(s)
	l.Issuer = "https://" + strings.Repeat("i", 1000) + ".example"
	l.URI = l.Issuer + "/v1/status/sl_00000000000000000000000000"
	raw, err := token.SignStatusList(l, signingKey(t, "current"))
	if err != nil {
		t.Fatal(err)
	}
	keys := keySet(t)
	keys.Issuer = l.Issuer
	back, err := token.VerifyStatusList(raw, keys, token.ExpectStatusList{URI: l.URI})
	if err != nil || back.Len() != license.StatusListLength {
		t.Fatalf("%d statuses, %v", back.Len(), err)
	}
	for i := range license.StatusListLength {
		want, _ := s.At(i)
		if got, ok := back.At(i); !ok || got != want {
			t.Fatalf("status %d is %d, want %d", i, got, want)
		}
	}
}

func TestStatusListRoundTrip(t *testing.T) {
	s := token.NewStatuses(1000)
	s.Set(17, license.StatusRevoked)
	l := statusList(s)
	key := signingKey(t, "current")
	raw, err := token.SignStatusList(l, key)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := token.SignStatusList(l, key); err != nil || again != raw {
		t.Errorf("the same list signed twice differs (%v)", err)
	}
	back, err := token.VerifyStatusList(raw, keySet(t), token.ExpectStatusList{Issuer: issuer, URI: listURI})
	if err != nil {
		t.Fatal(err)
	}
	if !back.IssuedAt.Equal(l.IssuedAt) || !back.ExpiresAt.Equal(l.ExpiresAt) || back.TTL != l.TTL || back.List != l.List || back.Raw != raw || back.KeyID != key.ID {
		t.Errorf("it came back as %+v", back)
	}
	parts := strings.Split(raw, ".")
	payload, err := decodeSegment(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Sub  string `json:"sub"`
		TTL  int    `json:"ttl"`
		List struct {
			Bits int    `json:"bits"`
			Lst  string `json:"lst"`
		} `json:"status_list"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Sub != listURI || claims.TTL != 900 || claims.List.Bits != 2 || claims.List.Lst != l.List {
		t.Errorf("signed as %s (%v)", payload, err)
	}
	if allocs := testing.AllocsPerRun(100, func() { _, _ = back.At(17) }); allocs > 0 {
		t.Errorf("a lookup allocates %v times", allocs)
	}
}

func TestSignStatusListRefusesWhatNobodyCouldRead(t *testing.T) {
	good := statusList(token.NewStatuses(8))
	for name, spoil := range map[string]func(*token.StatusList){
		"no issuer":       func(l *token.StatusList) { l.Issuer = "" },
		"no address":      func(l *token.StatusList) { l.URI = "" },
		"before 1970":     func(l *token.StatusList) { l.IssuedAt = time.Unix(-1, 0) },
		"ends before iat": func(l *token.StatusList) { l.ExpiresAt = l.IssuedAt },
		"no ttl":          func(l *token.StatusList) { l.TTL = 0 },
		"no list":         func(l *token.StatusList) { l.List = "" },
		"not zlib":        func(l *token.StatusList) { l.List = "AAAA" },
	} {
		l := good
		spoil(&l)
		if raw, err := token.SignStatusList(l, signingKey(t, "current")); license.ReasonOf(err) != license.Internal || raw != "" {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
	s := token.NewStatuses(1 << 19)
	random := rand.NewChaCha8([32]byte{2})
	_, _ = random.Read(s)
	if _, err := token.SignStatusList(statusList(s), signingKey(t, "current")); license.ReasonOf(err) != license.Internal || !strings.Contains(err.Error(), "64 KiB") {
		t.Errorf("a list that outgrows a token: %v", err)
	}
}

func BenchmarkStatusListLookup(b *testing.B) {
	raw, err := token.SignStatusList(statusList(token.NewStatuses(license.StatusListLength)), signingKey(b, "current"))
	if err != nil {
		b.Fatal(err)
	}
	l, err := token.VerifyStatusList(raw, keySet(b), token.ExpectStatusList{})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if status, ok := l.At(i % license.StatusListLength); !ok || status != license.StatusValid {
			b.Fatal(status)
		}
	}
}
