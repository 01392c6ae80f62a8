package sandbox

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"slices"
	"time"
)

const apiRoot = "/api/mkp-openapi-public/global"

// estimateOff is how far the expiry which an activation answers lies before the
// real one. It makes software noticeable that keeps the estimate.
const estimateOff = time.Minute

// The error codes of the licence calls (access guide …649195).
const (
	codeOK             = "92020000"
	codeInvalidParam   = "92020002"
	codeIllegalState   = "92020003"
	codeNotReceived    = "92020004"
	codeNotExist       = "92020005"
	codeNotActivated   = "92020011"
	codeInvalidBatch   = "92020020"
	codeParamPattern   = "95000001"
	codeMethod         = "95000002"
	codeContentType    = "95000003"
	codeNotReadable    = "95000004"
	codeUndocumented   = "92020777" // of FaultAPIUnknownCode
	codeGatewayUnknown = "APIGW.0101"
	codeGatewayAuth    = "APIGW.0301"
	codeGatewayBackend = "APIGW.0201"
)

const maxBatch = 100

const orderQuery = "order query"

// apiAnswer is an answer of the open API.
type apiAnswer struct {
	status    int
	body      any    // instead of the members, where the call spells its answer in another way
	ErrorCode string `json:"error_code"`
	ErrorMsg  string `json:"error_msg"`
	RequestID string `json:"request_id,omitempty"` // of the gateway's own answers
	Data      any    `json:"data,omitempty"`
}

func answer(code, msg string) apiAnswer { return failure(http.StatusOK, code, msg) }

func failure(status int, code, msg string) apiAnswer {
	return apiAnswer{status: status, ErrorCode: code, ErrorMsg: msg}
}

func (a apiAnswer) write(w http.ResponseWriter) {
	if a.body != nil {
		writeJSON(w, a.status, a.body)
		return
	}
	writeJSON(w, a.status, a)
}

// operation is one call of the open API.
type operation struct {
	name    string
	method  string
	media   []string // content types; nil: any
	maxBody int64
	serve   func(r *http.Request, body []byte) apiAnswer
}

func jsonCall(name string, serve func(body []byte) apiAnswer) operation {
	return operation{
		name: name, method: http.MethodPost, media: []string{"application/json"}, maxBody: 1 << 20,
		serve: func(_ *http.Request, body []byte) apiAnswer {
			if !json.Valid(body) {
				return failure(http.StatusBadRequest, codeNotReadable, "req message is not readable")
			}
			return serve(body)
		},
	}
}

// api wraps one call: outage, gateway, then method, content type and body, in
// the order in which the real chain meets them.
func (s *Sandbox) api(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.failByOutage(w) {
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, op.maxBody))
		if err != nil {
			failure(http.StatusBadRequest, codeNotReadable, "req message is not readable").write(w)
			return
		}
		fault, r2 := s.apiFault(op.name)
		if op.name == orderQuery {
			if bound, r := s.orderFault(r); bound != "" {
				fault, r2 = bound, r
			}
		}
		if fault == FaultAPISlow {
			s.mu.Lock()
			pause := s.misbehaviour.SlowFor
			s.mu.Unlock()
			if s.sleep(r.Context(), pause) != nil {
				return // the caller is gone
			}
		}
		if s.failBefore(w, op.name, fault, r2) {
			return
		}
		if why := s.checkSDKSignature(r, body); why != "" {
			gatewayAnswer(http.StatusUnauthorized, codeGatewayAuth, "Incorrect IAM authentication information: "+why).write(w)
			return
		}
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		var a apiAnswer
		switch {
		case r.Method != op.method:
			a = failure(http.StatusMethodNotAllowed, codeMethod, "Request method not supported")
		case op.media != nil && !slices.Contains(op.media, media):
			a = failure(http.StatusUnsupportedMediaType, codeContentType, "Content type not supported")
		default:
			a = op.serve(r, body)
		}
		s.mu.Lock()
		s.note(Event{Kind: EventCall, Text: op.name + ": " + a.ErrorCode})
		s.mu.Unlock()
		s.writeWith(w, fault, a)
	}
}

func gatewayAnswer(status int, code, msg string) apiAnswer {
	return apiAnswer{status: status, ErrorCode: code, ErrorMsg: msg, RequestID: newRequestID()}
}

// apiFaults are those which concern a request, in the order of their chances.
var apiFaults = []Fault{
	FaultAPIError, FaultAPIHTML, FaultAPIUnknownCode, FaultAPIWrongClock, FaultAPIHalfAnswer, FaultAPILostAnswer, FaultAPISlow,
}

// apiFault draws what goes wrong with the next call of a kind: one thing at
// most.
func (s *Sandbox) apiFault(name string) (Fault, *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[name]++
	n := s.calls[name]
	for _, f := range apiFaults {
		if r, hit := s.hits(f, Event{Text: name}, name, n); hit {
			return f, r
		}
	}
	return "", nil
}

// failBefore answers for the faults under which nothing is done.
func (s *Sandbox) failBefore(w http.ResponseWriter, call string, fault Fault, r *rand.Rand) bool {
	switch fault { //nolint:exhaustive // the others do what was asked
	case FaultAPIError:
		status := []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}[r.IntN(4)]
		gatewayAnswer(status, codeGatewayBackend, "Backend unavailable").write(w)
	case FaultAPIHTML:
		writeHTML(w)
	case FaultAPIUnknownCode:
		a := answer(codeUndocumented, "something else")
		if call == orderQuery {
			a = orderRefusal(codeOrderOdd, "something else")
		}
		a.write(w)
	case FaultAPIWrongClock:
		gatewayAnswer(http.StatusUnauthorized, codeGatewayAuth, "Incorrect IAM authentication information: "+errDate).write(w)
	default:
		return false
	}
	return true
}

// writeWith answers for the faults under which what was asked has been done.
func (s *Sandbox) writeWith(w http.ResponseWriter, fault Fault, a apiAnswer) {
	switch fault { //nolint:exhaustive // the others are settled before
	case FaultAPIHalfAnswer:
		half := &halfWriter{ResponseWriter: w}
		a.write(half)
	case FaultAPILostAnswer:
		panic(http.ErrAbortHandler) // how net/http is told to cut the connection
	default:
		a.write(w)
	}
}

// halfWriter announces a whole body and writes half of it.
type halfWriter struct{ http.ResponseWriter }

func (h *halfWriter) WriteHeader(int) {} // with the body's length, by Write

func (h *halfWriter) Write(b []byte) (int, error) {
	return writeHalf(h.ResponseWriter, b)
}

func validCode(s string) bool { return s != "" && characters(s) <= 64 }

func badParam() apiAnswer {
	return failure(http.StatusBadRequest, codeParamPattern, "req param is invalid")
}

// effectTime reads real_effect_time, always UTC.
func effectTime(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	t, err := time.Parse(compactLayout, s)
	return t, err == nil
}
