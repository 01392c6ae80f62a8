package teststore_test

import (
	"context"
	"testing"

	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Whatever a test has left in its store, the next finds none of it, and can open
// its own again.
func TestEmpty(t *testing.T) {
	for _, kind := range []string{"bolt", "postgres"} {
		t.Setenv(teststore.Env, kind)
		for n := range 3 {
			t.Run(kind, func(t *testing.T) {
				open := teststore.Opener(t)
				for _, before := range []int64{0, 1} {
					s, err := open()
					if err != nil {
						t.Fatal(err)
					}
					err = s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
						head, err := tx.AuditHead(ctx)
						if err != nil || head.Seq != before || before == 0 && head.Hash != (license.AuditHead{}).Hash {
							t.Errorf("use %d: the head is %+v, %v", n, head, err)
						}
						if _, err := tx.Append(ctx, license.AuditEvent{Action: license.ActionIssue}); err != nil {
							return err
						}
						return tx.SetValue(ctx, "x", []byte("1"))
					})
					if err != nil {
						t.Error(err)
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}
