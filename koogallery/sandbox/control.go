package sandbox

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// maxWait bounds how long the control API's wait call blocks.
const maxWait = time.Minute

// controlRequest is the body of every POST of the control API; each call reads
// the members it needs. docs/sandbox.md lists them by call.
type controlRequest struct {
	Code    string            `json:"code"` // authorization code, instance id or order id
	Product string            `json:"product"`
	Amount  int64             `json:"amount"` // buy, default 1; change, default as it is
	Period  period            `json:"period"` // buy, renew, change, advance, lapse: "8760h", "365d", "" for ever
	Trial   bool              `json:"trial"`  // buy
	Buyer   buyerRequest      `json:"buyer"`  // buy
	Extend  map[string]string `json:"extend"` // buy

	Device      string    `json:"device"`       // apply
	Event       string    `json:"event"`        // apply, to repeat it, and deny
	EffectiveAt time.Time `json:"effective_at"` // apply; default now
	ExpiresAt   time.Time `json:"expires_at"`   // apply; default the end of the instance
	NoExpiry    bool      `json:"no_expiry"`    // apply

	OrderID   string  `json:"order_id"`   // notify, fail-order
	Fault     Fault   `json:"fault"`      // fail-order; empty: it is answered well again
	Activity  string  `json:"activity"`   // debug
	ID        int64   `json:"id"`         // retry; 0: everything that waits
	URL       *string `json:"url"`        // callback; "" for none; absent: it stays
	AccessKey string  `json:"access_key"` // callback; empty keeps the present one
	CAPEM     string  `json:"ca_pem"`     // callback; with url, empty: the system's roots
	Mode      string  `json:"mode"`       // outage

	Faults   map[Fault]float64 `json:"faults"` // misbehave
	Limit    int               `json:"limit"`
	MaxDelay period            `json:"max_delay"`
	SlowFor  period            `json:"slow_for"`
	Skew     period            `json:"skew"`

	Dialect // dialect
}

func (r controlRequest) code() koogallery.Code { return koogallery.NewCode(r.Code) }

// period is a duration in Go's spelling, or whole days such as "365d".
type period time.Duration

func (p *period) UnmarshalText(text []byte) error {
	s := string(text)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return errors.New("period is not a number of days")
		}
		*p = period(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	if s == "" {
		return nil
	}
	d, err := time.ParseDuration(s)
	*p = period(d)
	return err
}

// controlCall does one thing and returns what to answer.
type controlCall func(ctx context.Context, req controlRequest) (any, error)

// routes lists everything that the sandbox serves.
func (s *Sandbox) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(apiRoot+"/v1/license/activate", s.api(jsonCall("activate", s.serveActivate)))
	mux.HandleFunc(apiRoot+"/v2/license/activate", s.api(jsonCall("activate v2", s.serveActivateBatch)))
	mux.HandleFunc(apiRoot+"/v1/license/heartbeat", s.api(jsonCall("query", s.serveHeartbeat)))
	if !s.opts.NoQueryV2 {
		mux.HandleFunc(apiRoot+"/v2/license/heartbeat", s.api(jsonCall("query v2", s.serveHeartbeatBatch)))
	}
	mux.HandleFunc(apiRoot+"/v2/license/software-usage-info", s.api(jsonCall("usage", s.serveUsage)))
	mux.HandleFunc(apiRoot+"/v1/order/query", s.api(operation{
		name: "order query", method: http.MethodGet, maxBody: 1 << 20, serve: s.serveOrder,
	}))
	mux.HandleFunc(apiRoot+"/v1/market-event/{event}/file", s.api(operation{
		name: "upload", method: http.MethodPost, maxBody: maxUploadBody, serve: s.serveUpload,
	}))
	methods := make(map[string]string) // by path
	for _, calls := range []map[string]controlCall{s.controlCalls(), s.marketCalls(), s.readCalls()} {
		for pattern, call := range calls {
			mux.Handle(pattern, s.control(call))
			method, path, _ := strings.Cut(pattern, " ")
			methods[path] = method
		}
	}
	mux.HandleFunc(controlRoot, s.noControl(methods))
	s.pages(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		gatewayAnswer(http.StatusNotFound, codeGatewayUnknown,
			"The API does not exist or has not been published in the environment").write(w)
	})
	return mux
}

// controlCalls is the control API: what the methods of Sandbox do, for scripts.
// Codes are shown in clear, since handing them out is what it is for.
func (s *Sandbox) controlCalls() map[string]controlCall {
	done := map[string]any{}
	plain := func(do func(koogallery.Code) error) controlCall {
		return func(_ context.Context, r controlRequest) (any, error) { return done, do(r.code()) }
	}
	return map[string]controlCall{
		"POST /sandbox/v1/buy": func(ctx context.Context, r controlRequest) (any, error) {
			if r.Amount == 0 {
				r.Amount = 1
			}
			return orderAnswer(s.Purchase(ctx, Purchase{
				Product: r.Product, Amount: r.Amount, Period: time.Duration(r.Period), Trial: r.Trial, Buyer: r.Buyer.buyer(), Extend: r.Extend,
			}))
		},
		"POST /sandbox/v1/receive": plain(s.Receive),
		"POST /sandbox/v1/renew": func(_ context.Context, r controlRequest) (any, error) {
			return orderAnswer(s.RenewAs(r.code(), r.Product, time.Duration(r.Period)))
		},
		"POST /sandbox/v1/change": func(_ context.Context, r controlRequest) (any, error) {
			return orderAnswer(s.Change(r.code(), Change{r.Product, r.Amount, time.Duration(r.Period)}))
		},
		"POST /sandbox/v1/convert-trial": func(_ context.Context, r controlRequest) (any, error) {
			return orderAnswer(s.ConvertTrial(r.code(), time.Duration(r.Period)))
		},
		"POST /sandbox/v1/apply": func(_ context.Context, r controlRequest) (any, error) {
			a, err := s.Apply(r.code(), LicenseRequest{
				EventID: r.Event, Device: koogallery.NewDeviceFingerprint(r.Device),
				EffectiveAt: r.EffectiveAt, ExpiresAt: r.ExpiresAt, NoExpiry: r.NoExpiry,
			})
			return applicationOf(a), err
		},
		"POST /sandbox/v1/deny": func(_ context.Context, r controlRequest) (any, error) { return done, s.Deny(r.Event) },
		"POST /sandbox/v1/notify": func(_ context.Context, r controlRequest) (any, error) {
			return done, s.NotifyOrder(r.OrderID)
		},
		"POST /sandbox/v1/cancel-renewal": func(_ context.Context, r controlRequest) (any, error) {
			return orderAnswer(s.CancelRenewal(r.code()))
		},
		"POST /sandbox/v1/get-license": plain(s.GetLicense),
		"POST /sandbox/v1/freeze":      plain(s.Freeze),
		"POST /sandbox/v1/unfreeze":    plain(s.Unfreeze),
		"POST /sandbox/v1/expire":      plain(s.Expire),
		"POST /sandbox/v1/unsubscribe": func(_ context.Context, r controlRequest) (any, error) {
			return orderAnswer(s.Unsubscribe(r.code()))
		},
		"POST /sandbox/v1/release": plain(s.ReleaseAfterRetention),
	}
}

// marketCalls are the part of the control API that concerns no purchase.
func (s *Sandbox) marketCalls() map[string]controlCall {
	done := map[string]any{}
	return map[string]controlCall{
		"POST /sandbox/v1/stop":   func(_ context.Context, r controlRequest) (any, error) { return done, s.Stop(r.Product) },
		"POST /sandbox/v1/resume": func(_ context.Context, r controlRequest) (any, error) { return done, s.Resume(r.Product) },
		"POST /sandbox/v1/lapse": func(_ context.Context, r controlRequest) (any, error) {
			return map[string]any{"changed": s.Lapse(time.Duration(r.Period))}, nil
		},
		"POST /sandbox/v1/misbehave": func(_ context.Context, r controlRequest) (any, error) {
			return done, s.SetMisbehaviour(Misbehaviour{
				Faults: r.Faults, Limit: r.Limit,
				MaxDelay: time.Duration(r.MaxDelay), SlowFor: time.Duration(r.SlowFor), Skew: time.Duration(r.Skew),
			})
		},
		"POST /sandbox/v1/advance": func(ctx context.Context, r controlRequest) (any, error) {
			return done, s.Advance(ctx, time.Duration(r.Period))
		},
		"POST /sandbox/v1/debug": func(_ context.Context, r controlRequest) (any, error) {
			id, err := s.DebugProduct(r.Product, koogallery.Activity(r.Activity), r.code())
			return map[string]any{"ids": []int64{id}}, err
		},
		"POST /sandbox/v1/probe": func(context.Context, controlRequest) (any, error) {
			return map[string]any{"ids": s.Probe()}, nil
		},
		"POST /sandbox/v1/retry": func(_ context.Context, r controlRequest) (any, error) {
			if r.ID == 0 {
				s.RetryNow()
				return done, nil
			}
			return done, s.Retry(r.ID)
		},
		"POST /sandbox/v1/callback": func(_ context.Context, r controlRequest) (any, error) {
			return done, s.controlCallback(r)
		},
		"POST /sandbox/v1/outage": func(_ context.Context, r controlRequest) (any, error) {
			return done, s.SetOutage(Outage(r.Mode))
		},
		"POST /sandbox/v1/wait": func(ctx context.Context, _ controlRequest) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, maxWait)
			defer cancel()
			return map[string]any{"idle": s.WaitIdle(ctx) == nil}, nil
		},
		"POST /sandbox/v1/fail-order": func(_ context.Context, r controlRequest) (any, error) {
			return done, s.FailOrder(r.OrderID, r.Fault)
		},
		"POST /sandbox/v1/dialect": func(_ context.Context, r controlRequest) (any, error) {
			return done, s.SetDialect(r.Dialect)
		},
	}
}

// readCalls are the part of the control API that changes nothing.
func (s *Sandbox) readCalls() map[string]controlCall {
	return map[string]controlCall{
		"GET /sandbox/v1/dialect": func(context.Context, controlRequest) (any, error) { return s.Dialect(), nil },
		"GET /sandbox/v1/deliveries/{id}": func(_ context.Context, r controlRequest) (any, error) {
			d, err := s.Delivery(r.ID)
			return detailOf(d), err
		},
		"GET /sandbox/v1/products": func(context.Context, controlRequest) (any, error) {
			return map[string]any{"products": s.productsJSON()}, nil
		},
		"GET /sandbox/v1/codes": func(context.Context, controlRequest) (any, error) {
			return map[string]any{"codes": s.codesJSON()}, nil
		},
		"GET /sandbox/v1/deliveries": func(context.Context, controlRequest) (any, error) {
			return map[string]any{"deliveries": s.deliveriesJSON()}, nil
		},
		"GET /sandbox/v1/events": func(context.Context, controlRequest) (any, error) {
			return map[string]any{"events": s.eventsJSON()}, nil
		},
	}
}

// control wraps a call: token, body, answer. Errors are {"error": "…"}.
func (s *Sandbox) control(call controlCall) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.authorized(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeJSON(w, http.StatusUnauthorized, map[string]any{"error": errControlToken})
			return
		}
		var req controlRequest
		if err := readControl(w, r, &req); err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
			return
		}
		if text := r.PathValue("id"); text != "" {
			id, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				writeJSON(w, http.StatusBadRequest, map[string]any{"error": "the id is not a number"})
				return
			}
			req.ID = id
		}
		out, err := call(r.Context(), req)
		if err != nil {
			writeJSON(w, controlStatus(err), map[string]any{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, out)
	}
}

const controlRoot = "/sandbox/v1/"

// noControl answers for what is no call of the control API, or has another
// method.
func (s *Sandbox) noControl(methods map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, controlRoot)
		status, text := http.StatusNotFound, fmt.Sprintf("there is no call %q", shorten(name, 64))
		if method := methods[r.URL.Path]; !s.authorized(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			status, text = http.StatusUnauthorized, errControlToken
		} else if method != "" {
			w.Header().Set("Allow", method)
			status, text = http.StatusMethodNotAllowed, fmt.Sprintf("%s wants %s, not %s", name, method, shorten(r.Method, 16))
		}
		writeJSON(w, status, map[string]any{"error": text})
	}
}

const errControlToken = "control token missing or wrong"

func (s *Sandbox) authorized(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	given, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.opts.ControlToken.Reveal()))
	return ok && subtle.ConstantTimeCompare(given[:], want[:]) == 1
}

// readControl is strict: a misspelt member is an error. No body is an empty one.
func readControl(w http.ResponseWriter, r *http.Request, req *controlRequest) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(req); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read body: more than one JSON document")
	}
	return nil
}

func controlStatus(err error) int {
	switch {
	case errors.Is(err, ErrUnknownCode), errors.Is(err, ErrUnknownProduct), errors.Is(err, ErrUnknownDelivery):
		return http.StatusNotFound
	case errors.Is(err, ErrState):
		return http.StatusConflict
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a caller which is gone
}

// controlCallback changes what is named: the address with its roots, the key, or
// both.
func (s *Sandbox) controlCallback(r controlRequest) error {
	key := koogallery.NewAccessKey(r.AccessKey)
	if r.URL == nil && r.CAPEM == "" {
		if r.AccessKey == "" {
			return fmt.Errorf("callback: url, access_key or ca_pem is to be given: %w", ErrInvalid)
		}
		return s.SetAccessKey(r.Product, key)
	}
	cb := s.callbackOf(r.Product)
	if r.URL != nil {
		cb.URL, cb.RootCAs = *r.URL, nil
	} else if cb.URL == "" {
		return fmt.Errorf("callback: ca_pem without url, where there is no address: %w", ErrInvalid)
	}
	if r.AccessKey != "" {
		cb.AccessKey = key
	}
	if r.CAPEM != "" {
		cb.RootCAs = x509.NewCertPool()
		if !cb.RootCAs.AppendCertsFromPEM([]byte(r.CAPEM)) {
			return fmt.Errorf("ca_pem holds no certificate: %w", ErrInvalid)
		}
	}
	if r.Product != "" {
		return s.SetProductCallback(r.Product, cb)
	}
	return s.SetCallback(cb)
}
