package client_test

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Two answers of one second are told apart as well: who imports the earlier one
// after the later one would present it to a server that has moved on.
func TestImportOlderOfTheSameSecond(t *testing.T) {
	s := airGapped(t)
	g := s.open()
	ask := func(op client.Op) []byte {
		t.Helper()
		req, err := g.Request(t.Context(), op, client.RequestOptions{Code: map[client.Op]string{client.OpActivate: code}[op]})
		check(t, err)
		return s.carry(req)
	}
	first := ask(client.OpActivate)
	check(t, g.Import(first))
	second := ask(client.OpRefresh)
	check(t, g.Import(second))
	held := g.License().ID()
	wantReason(t, g.Import(first), license.Older)
	check(t, g.Import(second))
	if g.License().ID() != held {
		t.Error("the earlier licence is held")
	}
	s.clock.add(time.Hour)
	check(t, g.Import(ask(client.OpRefresh)))
	wantReason(t, g.Import(second), license.Older)
}

// A request in text form is the same request, and its answer the same file.
func TestRequestAsText(t *testing.T) {
	s := airGapped(t)
	g := s.open()
	req, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code})
	check(t, err)
	raw, err := token.ParseRequestFile(req)
	check(t, err)
	text, err := token.MarshalRequestText(raw)
	check(t, err)
	check(t, g.Import(s.carry([]byte("from my phone: "+text))))
	wantLicensed(t, g)
}
