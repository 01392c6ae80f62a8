package koogallery_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// A merchant's whole side of the protocol, against the sandbox: answer
// callbacks, activate a code that a buyer brought, ask for its expiry.
func Example() {
	ctx := context.Background()
	key := koogallery.NewAccessKey("from the seller console")
	server := httptest.NewServer(&koogallery.Handler{
		Verifier: &koogallery.Verifier{Keys: []koogallery.AccessKey{key}},
		Handle: func(_ context.Context, _ koogallery.Callback, msg koogallery.Message) error {
			switch m := msg.(type) {
			case koogallery.RefreshLicenseCode:
				fmt.Println("callback:", m.Scene, m.License)
			case koogallery.UpdateLicenseCodeStatus:
				fmt.Println("callback:", m.Status, m.License)
			case koogallery.ReleaseLicenseCode:
				fmt.Println("callback: release", m.License)
			default:
				return errors.New("not handled")
			}
			return nil
		},
	})
	defer server.Close()

	market, err := sandbox.New(sandbox.Options{
		Products: []sandbox.Product{{ID: "OFFI0001"}},
		Callback: sandbox.Callback{URL: server.URL, AccessKey: key},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = market.Close() }()
	if err := market.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	client, err := koogallery.NewClient(market.ClientOptions())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	order, _ := market.Buy(ctx, "OFFI0001", 3, 365*24*time.Hour)
	activation, err := client.Activate(ctx, order.Code, time.Time{})
	fmt.Println("activate:", activation.ProductID, activation.Amount, err)
	info, err := client.Query(ctx, order.Code)
	fmt.Println("query:", info.Status, info.ExpireTime.Sub(info.ActivateTime), err)

	_, _ = market.Renew(order.Code, 365*24*time.Hour)
	_ = market.Freeze(order.Code)
	_ = market.WaitIdle(ctx)
	_, err = client.Activate(ctx, order.Code, time.Time{})
	fmt.Println("again:", err)
	// Output:
	// activate: OFFI0001 3 <nil>
	// query: ALIVE 8760h0m0s <nil>
	// callback: RENEWAL [redacted]
	// callback: FREEZE [redacted]
	// again: activate: marketplace answered 92020003 (HTTP 200): illegal state
}

// A server with a store of its own verifies and answers by itself.
func ExampleVerifier() {
	verifier := &koogallery.Verifier{
		Keys:   []koogallery.AccessKey{koogallery.NewAccessKey("present"), koogallery.NewAccessKey("next")},
		Replay: koogallery.NoReplayCache{}, // kept in the store below instead
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /marketplace", func(w http.ResponseWriter, r *http.Request) {
		callback, err := verifier.VerifyRequest(r)
		if err == nil {
			var msg koogallery.Message
			if msg, err = koogallery.ParseMessage(callback); err == nil && !msg.Test() {
				err = apply(r.Context(), callback.Replay, msg)
			}
		}
		_ = koogallery.WriteResult(w, koogallery.ResultOf(err))
	})
}

// apply would change the store and record the replay identity in one
// transaction.
func apply(context.Context, koogallery.ReplayID, koogallery.Message) error { return nil }
