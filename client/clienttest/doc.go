// Package clienttest is for the tests of a product that links package client:
// a licence server inside the test, a machine and a clock that the test moves
// as it likes, and licence files for every state that a licence can be in. It
// needs no daemon, no network and no file outside t.TempDir.
//
// What a product does in each state is one loop, with no server at all:
//
//	for _, s := range clienttest.Licenses(clienttest.Epoch) {
//		t.Run(string(s.Kind), func(t *testing.T) {
//			got := cad.Open(s.File, s.Now, s.Machine.Fingerprint) // your code
//			if got.CanExport() != s.Usable { … }
//		})
//	}
//
// What it does over time is told with a Server. Its Options are those of an
// install, ready for client.Open:
//
//	s := clienttest.NewServer(t, clienttest.ServerOptions{})
//	code := s.Issue(clienttest.LicenseSpec{For: 30 * 24 * time.Hour})
//	g, err := client.Open(t.Context(), s.Options(t))
//	err = g.Activate(t.Context(), code)
//	s.Down()
//	s.Clock().Advance(20 * 24 * time.Hour)
//	st := g.Status() // blocked: its lease has run out
//
// # Time
//
// A Clock stands still until it is moved, and the server and the installs of
// its Options share one, so a year is one call. Give an install a clock of its
// own (client.Options.Now) to test what a wrong clock does.
//
// In a testing/synctest bubble time moves by itself, and there a socket would
// keep it from moving: use NewBubbleServer, whose connections are pipes and
// whose clock runs with the bubble's. What runs in the background of a product
// is tested so: let a week pass with time.Sleep, which takes no time, and then
// call synctest.Wait. Open the install inside the bubble and close it there.
//
// # Keys
//
// Everything is signed by keys that are the same in every run and known to
// everybody who reads this package. A product must never ship with Anchors
// among its anchors: whoever links this package could make licences for it.
// AnchorID and StandbyID never change, so that a release can look for them, and
// IsTestAnchor does:
//
//	if slices.ContainsFunc(cad.Anchors, clienttest.IsTestAnchor) { t.Fatal(…) }
//
// # What is imitated
//
// The Server speaks the public protocol (docs/protocol.md): POST /v1/requests
// for every operation as JSON or as files, /v1/keys, /.well-known/jwks.json and
// /v1/status/{list}, with problems as refusals. One set of tests holds it
// against the real daemon: activation, refresh, transfer, deactivation, limits
// of machines and of moves, floating seats, lost answers, replays, forks under
// each policy, suspension, revocation, release, the end of a licence and keys
// that are rotated.
//
// Not imitated are the marketplace, moves that wait for approval
// (TransferPolicy.Approval), trials per machine (Product.Trial), seats that are
// freed because nobody was seen (ReleaseAfter), renewals that come too late
// (RenewWithin), products that accept each other's licences (Accepts), machines
// that share an id (ForkShared), limits of requests per address, the guard of the
// server's own clock, restoring a backup, the admin API and the pages for people.
// A new install on a machine whose parts were exchanged one after the other is
// bound afresh. There is no TLS, and nothing is compressed.
package clienttest
