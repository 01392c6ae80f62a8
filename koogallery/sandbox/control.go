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
// the members it needs.
type controlRequest struct {
	Code      string `json:"code"`
	Product   string `json:"product"`
	Amount    int64  `json:"amount"`     // buy; default 1
	Period    period `json:"period"`     // buy, renew: "8760h", "365d", "" for ever
	Activity  string `json:"activity"`   // debug
	ID        int64  `json:"id"`         // retry; 0: everything that waits
	URL       string `json:"url"`        // callback
	AccessKey string `json:"access_key"` // callback; empty keeps the present one
	CAPEM     string `json:"ca_pem"`     // callback; empty: the system's roots
	Mode      string `json:"mode"`       // outage
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

type orderJSON struct {
	OrderID     string `json:"order_id"`
	OrderLineID string `json:"order_line_id"`
	Code        string `json:"code"`
	Product     string `json:"product"`
	Amount      int64  `json:"amount"`
	Period      string `json:"period,omitempty"`
}

type codeJSON struct {
	Code        string    `json:"code"`
	Status      Status    `json:"status"`
	Product     string    `json:"product"`
	Amount      int64     `json:"amount"`
	OrderID     string    `json:"order_id"`
	Received    bool      `json:"received"`
	Frozen      bool      `json:"frozen"`
	BoughtAt    time.Time `json:"bought_at"`
	ActivatedAt time.Time `json:"activated_at,omitzero"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
}

type deliveryJSON struct {
	ID        int64               `json:"id"`
	Code      string              `json:"code"`
	Activity  koogallery.Activity `json:"activity"`
	Test      bool                `json:"test"`
	CreatedAt time.Time           `json:"created_at"`
	State     DeliveryState       `json:"state"`
	Attempts  []attemptJSON       `json:"attempts"`
}

type attemptJSON struct {
	At         time.Time             `json:"at"`
	HTTPStatus int                   `json:"http_status,omitempty"`
	ResultCode koogallery.ResultCode `json:"result_code,omitempty"`
	ResultMsg  string                `json:"result_msg,omitempty"`
	Error      string                `json:"error,omitempty"`
}

// controlCall does one thing and returns what to answer.
type controlCall func(ctx context.Context, req controlRequest) (any, error)

// routes lists everything that the sandbox serves.
func (s *Sandbox) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(apiRoot+"/v1/license/activate", s.api(s.serveActivate))
	mux.HandleFunc(apiRoot+"/v2/license/activate", s.api(s.serveActivateBatch))
	mux.HandleFunc(apiRoot+"/v1/license/heartbeat", s.api(s.serveHeartbeat))
	for pattern, call := range s.controlCalls() {
		mux.Handle(pattern, s.control(call))
	}
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
			return orderAnswer(s.Buy(ctx, r.Product, r.Amount, time.Duration(r.Period)))
		},
		"POST /sandbox/v1/receive": plain(s.Receive),
		"POST /sandbox/v1/renew": func(_ context.Context, r controlRequest) (any, error) {
			return orderAnswer(s.RenewAs(r.code(), r.Product, time.Duration(r.Period)))
		},
		"POST /sandbox/v1/cancel-renewal": func(_ context.Context, r controlRequest) (any, error) {
			return orderAnswer(s.CancelRenewal(r.code()))
		},
		"POST /sandbox/v1/freeze":   plain(s.Freeze),
		"POST /sandbox/v1/unfreeze": plain(s.Unfreeze),
		"POST /sandbox/v1/expire":   plain(s.Expire),
		"POST /sandbox/v1/unsubscribe": func(_ context.Context, r controlRequest) (any, error) {
			return orderAnswer(s.Unsubscribe(r.code()))
		},
		"POST /sandbox/v1/release": plain(s.ReleaseAfterRetention),
		"POST /sandbox/v1/debug": func(_ context.Context, r controlRequest) (any, error) {
			id, err := s.Debug(koogallery.Activity(r.Activity), r.code())
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
			return done, s.setCallback(r)
		},
		"POST /sandbox/v1/outage": func(_ context.Context, r controlRequest) (any, error) {
			return done, s.SetOutage(Outage(r.Mode))
		},
		"POST /sandbox/v1/wait": func(ctx context.Context, _ controlRequest) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, maxWait)
			defer cancel()
			return map[string]any{"idle": s.WaitIdle(ctx) == nil}, nil
		},
		"GET /sandbox/v1/products": func(context.Context, controlRequest) (any, error) {
			return map[string]any{"products": s.Products()}, nil
		},
		"GET /sandbox/v1/codes": func(context.Context, controlRequest) (any, error) {
			return map[string]any{"codes": s.codesJSON()}, nil
		},
		"GET /sandbox/v1/deliveries": func(context.Context, controlRequest) (any, error) {
			return map[string]any{"deliveries": s.deliveriesJSON()}, nil
		},
	}
}

// control wraps a call: token, body, answer. Errors are {"error": "…"}.
func (s *Sandbox) control(call controlCall) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.authorized(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "control token missing or wrong"})
			return
		}
		var req controlRequest
		if err := readControl(w, r, &req); err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
			return
		}
		out, err := call(r.Context(), req)
		if err != nil {
			writeJSON(w, controlStatus(err), map[string]any{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, out)
	}
}

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

func orderAnswer(o Order, err error) (any, error) {
	out := orderJSON{
		OrderID: o.ID, OrderLineID: o.LineID, Code: o.Code.Reveal(), Product: o.Product, Amount: o.Amount,
	}
	if o.Period > 0 {
		out.Period = o.Period.String()
	}
	return out, err
}

func (s *Sandbox) setCallback(r controlRequest) error {
	cb := Callback{URL: r.URL, AccessKey: koogallery.NewAccessKey(r.AccessKey)}
	if r.CAPEM != "" {
		cb.RootCAs = x509.NewCertPool()
		if !cb.RootCAs.AppendCertsFromPEM([]byte(r.CAPEM)) {
			return fmt.Errorf("ca_pem holds no certificate: %w", ErrInvalid)
		}
	}
	return s.SetCallback(cb)
}

func (s *Sandbox) codesJSON() []codeJSON {
	out := []codeJSON{}
	for _, c := range s.Codes() {
		out = append(out, codeJSON{
			Code: c.Code.Reveal(), Status: c.Status, Product: c.Product, Amount: c.Amount, OrderID: c.OrderID,
			Received: c.Received, Frozen: c.Frozen,
			BoughtAt: c.BoughtAt, ActivatedAt: c.ActivatedAt, ExpiresAt: c.ExpiresAt,
		})
	}
	return out
}

func (s *Sandbox) deliveriesJSON() []deliveryJSON {
	out := []deliveryJSON{}
	for _, d := range s.Deliveries() {
		j := deliveryJSON{
			ID: d.ID, Code: d.Code.Reveal(), Activity: d.Activity, Test: d.Test,
			CreatedAt: d.CreatedAt, State: d.State, Attempts: []attemptJSON{},
		}
		for _, a := range d.Attempts {
			j.Attempts = append(j.Attempts, attemptJSON(a))
		}
		out = append(out, j)
	}
	return out
}
