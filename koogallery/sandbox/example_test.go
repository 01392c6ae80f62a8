package sandbox_test

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// A merchant is tested without a network and without waiting: here one whose
// disk is full for the first attempt.
func ExampleSandbox_Advance() {
	ctx := context.Background()
	key := koogallery.NewAccessKey("callback key")
	attempts := 0
	merchant := &koogallery.Handler{Handle: func(_ context.Context, _ koogallery.Callback, msg koogallery.Message) error {
		if attempts++; attempts == 1 {
			return fmt.Errorf("%s: disk full", msg.Activity())
		}
		return nil
	}}
	market, err := sandbox.New(sandbox.Options{
		Products: []sandbox.Product{{ID: "OFFI0001"}},
		Manual:   true,
		Now:      func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
		Callback: sandbox.Callback{URL: "http://127.0.0.1/", AccessKey: key}, CallbackTransport: inProcess{merchant},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = market.Close() }()
	merchant.Verifier = &koogallery.Verifier{Keys: []koogallery.AccessKey{key}, Now: market.Now}

	order, _ := market.Buy(ctx, "OFFI0001", 1, 365*24*time.Hour)
	_ = market.Freeze(order.Ref())
	_ = market.Advance(ctx, 0)
	state, _ := market.State(order.Ref())
	fmt.Println("frozen:", state.Frozen, "told:", state.Told.Frozen, "pending:", state.Pending)
	_ = market.Advance(ctx, 2*time.Minute)
	state, _ = market.State(order.Ref())
	fmt.Println("frozen:", state.Frozen, "told:", state.Told.Frozen, "pending:", state.Pending)
	// Output:
	// frozen: true told: false pending: 1
	// frozen: true told: true pending: 0
}
