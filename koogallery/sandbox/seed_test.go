package sandbox_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func TestNonceOfAnotherRun(t *testing.T) {
	nonces := map[string]int{}
	for range 2 { // two runs of the command with --seed 7
		s := merchantSays(t, sandbox.Options{Seed: 7}, func(w http.ResponseWriter, r *http.Request) {
			nonces[r.URL.Query().Get("nonce")]++
			_, _ = w.Write([]byte(`{"resultCode":"000000"}`))
		})
		o := buy(t, s, year)
		must(t, s.Freeze(o.Code))
		must(t, s.Advance(t.Context(), 0))
	}
	for _, n := range nonces {
		if n > 1 {
			t.Errorf("a nonce was used %d times under the same key", n)
		}
	}
}

// Two purchases are frozen, and the merchant takes its time for the one or the
// other. What goes wrong with each is the same.
func TestSameSeedSameFaults(t *testing.T) {
	run := func(seed uint64, slow int) (attempts map[int][]int) {
		attempts = make(map[int][]int)
		synctest.Test(t, func(t *testing.T) {
			var waits koogallery.Code
			s, err := sandbox.New(sandbox.Options{
				Products: []sandbox.Product{{ID: product}}, Seed: seed, RetryInterval: time.Second, Now: bubbleNow,
				Callback: sandbox.Callback{URL: address},
				CallbackTransport: inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if strings.Contains(string(body), waits.Reveal()) {
						<-time.After(5 * time.Second)
					}
					_, _ = io.WriteString(w, `{"resultCode":"000000"}`)
				})},
				Misbehaviour: sandbox.Misbehaviour{Faults: map[sandbox.Fault]float64{sandbox.FaultRepeated: 0.8, sandbox.FaultLostAnswer: 0.5}},
			})
			must(t, err)
			defer func() { must(t, s.Close()) }()
			orders := []sandbox.Order{buy(t, s, year), buy(t, s, year)}
			waits = orders[slow].Code
			for _, o := range orders {
				_, err := s.Renew(o.Code, year)
				must(t, err)
				must(t, s.Freeze(o.Code))
			}
			must(t, s.WaitIdle(t.Context()))
			for _, d := range s.Deliveries() {
				for i, o := range orders {
					if d.Code.Equal(o.Code) {
						attempts[i] = append(attempts[i], len(d.Attempts))
					}
				}
			}
			for _, list := range attempts {
				slices.Sort(list) // copies stand where they arose
			}
		})
		return attempts
	}
	for seed := uint64(1); seed < 6; seed++ {
		if x, y := run(seed, 0), run(seed, 1); !cmp.Equal(x, y) {
			t.Errorf("seed %d: attempts %v, and %v when the merchant is slower with the other", seed, x, y)
		}
	}
}

// Without Manual two runs with one seed share no order, code or instance either:
// the merchant's store outlives the sandbox.
func TestIDsOfAnotherRun(t *testing.T) {
	ids := map[string]bool{}
	for range 2 {
		s := newSandbox(t, sandbox.Options{Seed: 7})
		o := buy(t, s, year)
		for _, id := range []string{o.ID, o.Code.Reveal()} {
			if ids[id] {
				t.Errorf("%s… was given out before", id[:8])
			}
			ids[id] = true
		}
	}
	manual := sandbox.Options{Seed: 7, Manual: true, Now: func() time.Time { return begin }}
	one, two := newSandbox(t, manual), newSandbox(t, manual)
	if a, b := buy(t, one, year), buy(t, two, year); a.ID != b.ID {
		t.Error("manual runs with one seed differ")
	}
}
