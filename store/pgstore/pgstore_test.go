package pgstore_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
	"github.com/seed-357fa782/licensed/store/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T) storetest.Opener {
		t.Helper()
		url := pgtest.URL(t)
		return func() (store.Store, error) { return pgstore.Open(t.Context(), url, pgstore.Options{}) }
	})
}
