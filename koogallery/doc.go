// Package koogallery speaks the licence protocol of the Huawei Cloud
// marketplace (KooGallery): it checks and reads the calls which the marketplace
// makes to a merchant, and makes the calls which a merchant owes the
// marketplace. It uses the standard library only, keeps nothing on disk and
// writes no logs.
//
// # Callbacks
//
// The marketplace POSTs JSON to one production address per product and signs it
// with an access key (access guide …649248). A [Verifier] decides whether a
// call is authentic, fresh and no copy; [ParseMessage] turns it into one of the
// typed messages [RefreshLicenseCode], [UpdateLicenseCodeStatus] and
// [ReleaseLicenseCode]; [WriteResult] answers. [Handler] joins the three for
// servers which need nothing else:
//
//	mux.Handle("/marketplace", &koogallery.Handler{
//		Verifier: &koogallery.Verifier{Keys: []koogallery.AccessKey{key}},
//		Handle: func(ctx context.Context, _ koogallery.Callback, msg koogallery.Message) error {
//			switch m := msg.(type) {
//			case koogallery.RefreshLicenseCode:
//				return store.SetExpiry(ctx, m.License.Reveal(), m.ExpireTime)
//			…
//			}
//		},
//	})
//
// Whatever is returned as an error becomes one of the documented result codes,
// see [ResultCode]; the platform repeats a failing call 60 times, every two
// minutes, so handlers have to be idempotent (access guide …649172).
//
// # Open API
//
// A [Client] activates authorization codes and asks for their state (access
// guide …649244, …649245). Its errors carry the marketplace's code and fit
// errors.Is with the Err… variables; [Retryable] tells whether the same call
// may succeed later.
//
// # Secrets
//
// Authorization codes, access keys and secret keys are types of their own which
// print as "[redacted]" however they are formatted, logged or encoded. Their
// text comes from Reveal and from nowhere else.
//
// Package sandbox next to this one is a stand-in for the marketplace.
package koogallery
