// Package koogallery speaks the licence protocol of the Huawei Cloud
// marketplace (KooGallery): it checks and reads the calls which the marketplace
// makes to a merchant, and makes the calls which a merchant owes the
// marketplace. It uses the standard library only, keeps nothing on disk and
// writes no logs.
//
// # Callbacks
//
// The interface has three generations. In licence 2.0 the marketplace makes
// authorization codes and tells what becomes of them; in online provisioning the
// merchant makes instances and licences for devices. Both POST JSON to one
// production address per product and sign it with an access key (access guide
// …649248). A [Verifier] decides whether a call is authentic, fresh and no copy;
// [ParseMessage] turns it into one of the typed messages:
//
//   - licence 2.0: [RefreshLicenseCode], [UpdateLicenseCodeStatus],
//     [ReleaseLicenseCode]
//   - online provisioning: [NewInstance], [RefreshInstance],
//     [UpdateInstanceStatus], [ReleaseInstance], [GetLicenseAsync]
//   - any product: [OrderNotify]
//
// [WriteResult] answers. [Handler] joins the three for servers which need
// nothing else:
//
//	mux.Handle("POST /marketplace", &koogallery.Handler{
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
// It takes the messages of licence 2.0 unless Handler.Activities says more.
//
// Licence 1.0, retired, sends GET requests with a token and wants its answers
// signed: [V1Verifier], [ParseV1Message], [WriteSignedResult] and [V1Handler]
// are their counterparts, and [PersonalData] decrypts what it encrypts.
//
// Whatever is returned as an error becomes one of the documented result codes,
// see [ResultCode]; the platform repeats a failing call of licence 2.0 60 times,
// every two minutes, so handlers have to be idempotent (access guide …649172).
//
// # Open API
//
// A [Client] activates authorization codes and asks for their state, one by one
// or many at once (access guide …649244, …649245), reports usage, reads orders
// (…649350) and delivers licences for devices (…649351). Its errors carry the
// marketplace's code and fit errors.Is with the Err… variables; [Retryable]
// tells whether the same call may succeed later. An answer which is not
// understood is an error, never a guess.
//
// # Secrets
//
// Authorization codes, keys, licences, device fingerprints and personal data are
// types of their own which print as "[redacted]" however they are formatted,
// logged or encoded. Their text comes from Reveal, from the answer which a Result
// becomes, and from nowhere else.
//
// Package sandbox next to this one is a stand-in for the marketplace.
package koogallery
