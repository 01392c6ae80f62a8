package dump_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/store/dump"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// BenchmarkLoad loads a dump of licences with an install and two events each into
// PostgreSQL, which syncs.
func BenchmarkLoad(b *testing.B) {
	c := pgtest.New(b)
	const licenses = 5000
	text := write(b, filled(b, licenses))
	records := int64(0)
	for b.Loop() {
		s, err := pgstore.Open(b.Context(), c.Schema(b), pgstore.Options{Connections: 4})
		if err != nil {
			b.Fatal(err)
		}
		sum, err := dump.Load(context.WithoutCancel(b.Context()), s, bytes.NewReader(text), dump.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range sum.Records {
			records += n
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(records), "us/record")
}
