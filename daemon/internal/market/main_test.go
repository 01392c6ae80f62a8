package market_test

import (
	"testing"

	"github.com/seed-357fa782/licensed/internal/teststore"
)

func TestMain(m *testing.M) {
	teststore.Main()
	m.Run()
}
