package koogallery_test

import (
	"fmt"
	"testing"

	"github.com/seed-357fa782/licensed/koogallery"
)

var benchBody = []byte(`{"activity":"refreshLicenseCode","expireTime":"20260523201932","license":"PL20250101000000000001",` +
	`"orderId":"CS2501010000000001","orderLineId":"CS2501010000000001-000001","productId":"OFFI461867333479178240",` +
	`"scene":"RENEWAL","testFlag":"0"}`)

// BenchmarkVerify is one call from query and body to message, replay cache
// excluded, which BenchmarkReplayCache measures.
func BenchmarkVerify(b *testing.B) {
	for _, bb := range []struct {
		name   string
		keys   []koogallery.AccessKey
		body   []byte
		signed []byte
	}{
		{"raw", []koogallery.AccessKey{testKey}, benchBody, benchBody},
		{"canonical", []koogallery.AccessKey{testKey}, append([]byte(" "), benchBody...), benchBody},
		{"second_key", []koogallery.AccessKey{koogallery.NewAccessKey("old"), testKey}, benchBody, benchBody},
		{"forged", []koogallery.AccessKey{testKey}, benchBody, []byte("other")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			v := &koogallery.Verifier{Keys: bb.keys, Now: at(testNow), Replay: koogallery.NoReplayCache{}}
			query := koogallery.SignedQuery(testKey, "Of4lsV7H1qrzVDI52O5CFk2ofPcZRaA6", testNow, bb.signed)
			b.ReportAllocs()
			for b.Loop() {
				cb, err := v.Verify(query, bb.body)
				if err == nil {
					_, err = koogallery.ParseMessage(cb)
				}
				if (err == nil) != (bb.name != "forged") {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReplayCache(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := koogallery.MemoryReplayCache{MaxEntries: n}
			until := testNow.Add(koogallery.MinReplayKeep)
			b.ReportAllocs()
			i := uint64(0)
			for b.Loop() {
				i++
				d := [16]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
				nonce := d
				nonce[15] = 1
				if !c.Add(koogallery.ReplayID{Signature: d, Nonce: nonce}, testNow, until) {
					b.Fatal("a new call is a copy")
				}
			}
		})
	}
}
