package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// openAPI is a marketplace's open API that knows until when codes are valid. It
// answers nothing but the queries of one code (v1) and of several (v2), in the
// form in which the sandbox does, and checks no signature.
type openAPI struct {
	url string
	ca  []byte // PEM: its own certificate

	mu      sync.Mutex
	ends    map[string]time.Time // by code
	seen    map[string]bool
	asked   []string // codes, in the order in which they were first asked about
	settled int      // how many of those had been asked about when a call about others came
	first   []int    // how many codes each call had that asked about new ones
	again   []int    // and each that did not
	others  int      // calls that are none of these

	begun chan struct{} // closed once some are settled
}

// Paths of the queries.
const (
	queryOne  = "/api/mkp-openapi-public/global/v1/license/heartbeat"
	queryMany = "/api/mkp-openapi-public/global/v2/license/heartbeat"
)

// withOpenAPI runs an open API with the ends of codes while do runs.
func withOpenAPI(ctx context.Context, ends map[string]time.Time, do func(*openAPI) error) error {
	certificate, err := ownCertificate()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	a := &openAPI{
		url: "https://" + listener.Addr().String(), ends: ends, seen: make(map[string]bool, len(ends)), begun: make(chan struct{}),
		ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
	}
	server := &http.Server{
		Handler: a, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	err = errors.Join(do(a), server.Close())
	if serving := <-ended; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	return err
}

// ownCertificate is one for the loopback that is its own authority.
func ownCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// codeState is what is said of a code.
type codeState struct {
	Code    string `json:"license_code"`
	Status  string `json:"status"`
	End     string `json:"expire_time"`
	Product string `json:"product_id"`
	Order   string `json:"order_id"`
	Amount  int    `json:"amount"`
}

// ServeHTTP answers a call.
func (a *openAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Code  string   `json:"license"`
		Codes []string `json:"license_list"`
	}
	err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&asked)
	if r.URL.Path == queryOne {
		asked.Codes = []string{asked.Code}
	}
	states := a.states(asked.Codes, err == nil && r.Method == http.MethodPost && (r.URL.Path == queryOne || r.URL.Path == queryMany))
	var out struct {
		Code string `json:"error_code"`
		Msg  string `json:"error_msg"`
		Data struct {
			*codeState
			Codes []codeState `json:"license_list,omitempty"`
		} `json:"data"`
	}
	switch {
	case states == nil:
		http.NotFound(w, r)
		return
	case r.URL.Path == queryOne:
		out.Data.codeState = &states[0]
	default:
		out.Data.Codes = states
	}
	out.Code, out.Msg = "92020000", "success"
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the caller may be gone
}

// states notes a call, query or not, and says what there is to say of its codes:
// nil where it is none, or one of them is not known.
func (a *openAPI) states(codes []string, query bool) []codeState {
	a.mu.Lock()
	defer a.mu.Unlock()
	unknown := func(code string) bool { return a.ends[code].IsZero() }
	if !query || len(codes) == 0 || len(codes) > koogallery.MaxBatch || slices.ContainsFunc(codes, unknown) {
		a.others++
		return nil
	}
	before := len(a.asked)
	out := make([]codeState, len(codes))
	for i, code := range codes {
		if !a.seen[code] {
			a.seen[code], a.asked = true, append(a.asked, code)
		}
		out[i] = codeState{Code: code, Status: "ALIVE", End: a.ends[code].Format(marketTime), Product: soldProduct, Order: soldOrder, Amount: 1}
	}
	if len(a.asked) == before {
		a.again = append(a.again, len(codes))
		return out
	}
	if a.settled == 0 && before > 0 {
		close(a.begun)
	}
	a.settled, a.first = before, append(a.first, len(codes))
	return out
}

// renew sets another end for one of the codes with which the comparison is done,
// by turns. There are some once begun is closed.
func (a *openAPI) renew(i int) (code string, end time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	code = a.asked[i%a.settled]
	a.ends[code] = a.ends[code].AddDate(0, 1, 0)
	return code, a.ends[code]
}

// end is until when a code is valid, as the marketplace says.
func (a *openAPI) end(code string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ends[code]
}
