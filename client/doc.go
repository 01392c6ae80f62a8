// Package client is what a product links: it verifies licences offline, and
// keeps the licence of one installed copy.
//
// Verifying and enforcing are separate. A Verifier says whether a licence file
// is authentic and meant for this product; it judges no clock and no machine.
// License.Check says where the licence stands at an instant, License.Match
// whether this is the machine that it was made for. What to do about it is the
// product's decision.
//
//	v := client.Verifier{Anchors: anchors, Product: "cad-pro"}
//	lic, err := v.Verify(file)
//	st := lic.Check(now)
//
// A Guard does all of it for one install: it holds the install's key, calls
// the licence server to activate and deactivate, and by itself to refresh,
// carries requests and answers as files where there is no network, tells what
// changes, and remembers everything that must not be forgotten in one file.
//
//	g, err := client.Open(ctx, client.Options{Anchors: anchors, Product: "cad-pro", Server: "https://licence.example.com"})
//	defer g.Close()
//	err = g.Activate(ctx, code)
//	if g.Feature("export") { … }
//	for e := range g.Events() { … }
//
// docs/guard.md says what it does when.
//
// # What can be relied upon
//
//   - Nothing here panics on any input, writes to a log or to standard output,
//     or starts a goroutine that Close does not wait for.
//   - A server that is down, slow or not a licence server at all changes
//     nothing: what was held stays, and the error says Unreachable. A refusal by
//     the server is reported and ends nothing either; only something signed does.
//   - Nobody is called but the licence server, over TLS, by the proxy that the
//     environment or the system is set to: docs/network.md is for who runs the
//     network.
//   - A clock that was wrong leaves nothing behind when it is set right, and
//     setting it back gains no running time: docs/time.md says what every skew
//     does, and what cannot be prevented without a network.
//   - Every error has a license.Reason (errors.Is, license.ReasonOf), and a
//     Detail for the person in front of the machine.
//   - It links golang-jwt/jwt/v5, on Windows denisbrodbeck/machineid and x/sys,
//     and otherwise the standard library alone.
//
// The anchors are the public root keys of the merchant: the output of
// "licensectl keys anchors -o json", compiled in and read by ParseAnchors.
// They are the only thing that the product trusts from the start.
package client
