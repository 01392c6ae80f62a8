package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license/wire"
)

const ok = http.StatusOK

var b64 = base64.RawURLEncoding

// licenseClaims is what a licence says.
type licenseClaims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  string `json:"aud"`
	ID        string `json:"jti"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	Exp       int64  `json:"exp"`
	Lic       struct {
		Version   int            `json:"ver"`
		Customer  string         `json:"customer,omitempty"`
		Order     string         `json:"order,omitempty"`
		Channel   string         `json:"channel,omitempty"`
		CodeLast4 string         `json:"code_last4,omitempty"`
		Features  map[string]any `json:"features,omitempty"`
		Machines  int            `json:"machines,omitempty"`
		Mode      string         `json:"mode,omitempty"`
		Phases    struct {
			WarnAt      int64  `json:"warn_at"`
			ExpiresAt   int64  `json:"expires_at"`
			BlockAt     int64  `json:"block_at"`
			Enforcement string `json:"enforcement"`
		} `json:"phases"`
		RefreshAfter int64 `json:"refresh_after"`
		LeaseUntil   int64 `json:"lease_until"`
		Binding      struct {
			Policy     string              `json:"policy"`
			Salt       string              `json:"salt,omitempty"`
			Components map[string][]string `json:"components,omitempty"`
		} `json:"binding"`
	} `json:"lic"`
	Status struct {
		List struct {
			Index int    `json:"idx"`
			URI   string `json:"uri"`
		} `json:"status_list"`
	} `json:"status"`
	Cnf struct {
		JWK bareKey `json:"jwk"`
	} `json:"cnf"`
}

type bareKey struct {
	KeyType string `json:"kty"`
	Curve   string `json:"crv"`
	X       string `json:"x"`
}

type requestClaims struct {
	ID          string `json:"jti"`
	IssuedAt    int64  `json:"iat"`
	Op          string `json:"op"`
	Product     string `json:"product"`
	Prev        string `json:"prev"`
	Fingerprint struct {
		Salt       string              `json:"salt"`
		Components map[string][]string `json:"components"`
	} `json:"fingerprint"`
	Code    string `json:"code"`
	License string `json:"license"`
}

// prototype does the server's work without its layers. Without a committer it
// does all but the storage.
type prototype struct {
	committer *committer
	items     map[string]*item // by what the request names: keyed digest of a code, or id of a licence
	key       ed25519.PrivateKey
	keys      string // key set
	status    string // status list
	headers   map[string]string
	hashes    sync.Pool // keyed, of codes
	macs      sync.Pool // keyed, of callbacks
}

// newPrototype makes a prototype that can do w.
func newPrototype(w *work, keySet string) (*prototype, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	p := &prototype{key: key, keys: keySet, status: w.status, items: make(map[string]*item, len(w.items)), headers: make(map[string]string)}
	sum := sha256.Sum256(key.Public().(ed25519.PublicKey))
	for _, typ := range []string{"license+jwt", "license-time+jwt"} {
		p.headers[typ] = b64.EncodeToString([]byte(`{"alg":"EdDSA","kid":"`+b64.EncodeToString(sum[:])+`","typ":"`+typ+`"}`)) + "."
	}
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails
	p.hashes.New = func() any { return hmac.New(sha256.New, secret) }
	p.macs.New = func() any { return hmac.New(sha256.New, []byte(accessKey)) }
	for _, it := range w.items {
		p.items[p.digest(it.code.Reveal())], p.items[it.id] = it, it
	}
	return p, nil
}

// serve runs the prototype while do runs.
func (p *prototype) serve(ctx context.Context, do func(addr string) error) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /activate", func(w http.ResponseWriter, r *http.Request) { p.request(w, r, p.activate) })
	mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) { p.request(w, r, p.refresh) })
	mux.HandleFunc("POST /marketplace/"+marketplace, p.callback)
	mux.HandleFunc("GET /keys", p.keySet)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	err = do(listener.Addr().String())
	err = errors.Join(err, server.Close())
	if serving := <-ended; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	return err
}

var (
	errUnknown  = errors.New("unknown")
	errForged   = errors.New("forged")
	errReplayed = errors.New("replayed")
)

// request answers a signed request.
func (p *prototype) request(w http.ResponseWriter, r *http.Request, do func(requestClaims) (*item, error)) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var in wire.Request
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rq, err := openRequest(in.Request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	it, err := do(rq)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	p.answer(w, it, rq.ID)
}

// openRequest verifies a request under the key in its own header.
func openRequest(raw string) (requestClaims, error) {
	var rq requestClaims
	var header struct {
		JWK bareKey `json:"jwk"`
	}
	head, rest, _ := strings.Cut(raw, ".")
	body, signature, _ := strings.Cut(rest, ".")
	if err := decode(head, &header); err != nil {
		return rq, err
	}
	x, err := b64.DecodeString(header.JWK.X)
	if err != nil {
		return rq, err
	}
	sig, err := b64.DecodeString(signature)
	if err != nil {
		return rq, err
	}
	if len(x) != ed25519.PublicKeySize || !ed25519.Verify(x, []byte(raw[:len(head)+1+len(body)]), sig) {
		return rq, errForged
	}
	return rq, decode(body, &rq)
}

func decode(part string, v any) error {
	data, err := b64.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// digest is what a code is found by.
func (p *prototype) digest(code string) string {
	h := p.hashes.Get().(hash.Hash)
	h.Reset()
	h.Write([]byte(code))
	sum := h.Sum(nil)
	p.hashes.Put(h)
	return string(sum[:16])
}

func (p *prototype) activate(rq requestClaims) (*item, error) {
	it := p.items[p.digest(rq.Code)]
	if it == nil {
		return nil, errUnknown
	}
	return it, p.commit(func(b *page) error {
		id := b[codes].Get(it.index)
		if id == nil || b[licenses].Get(id) == nil || b[installs].Get(it.install) != nil {
			return errUnknown
		}
		return b.write(it.puts)
	})
}

func (p *prototype) refresh(rq requestClaims) (*item, error) {
	var held struct {
		Subject string `json:"sub"`
	}
	_, rest, _ := strings.Cut(rq.License, ".")
	body, _, _ := strings.Cut(rest, ".")
	if err := decode(body, &held); err != nil {
		return nil, err
	}
	it := p.items[held.Subject]
	if it == nil {
		return nil, errUnknown
	}
	return it, p.commit(func(b *page) error {
		if b[installs].Get(it.install) == nil || b[licenses].Get([]byte(it.id)) == nil {
			return errUnknown
		}
		return b.write(it.puts)
	})
}

func (p *prototype) commit(run func(b *page) error) error {
	if p.committer == nil {
		return nil
	}
	return p.committer.update(run)
}

// answer signs the licence and the time and sends both with the key set.
func (p *prototype) answer(w http.ResponseWriter, it *item, nonce string) {
	payload, err := json.Marshal(it.claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, install, _ := strings.Cut(string(it.install), "/")
	stamp, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		IssuedAt int64  `json:"iat"`
		Subject  string `json:"sub"`
		Nonce    string `json:"nonce"`
	}{issuer, time.Now().Unix(), install, nonce})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(wire.Answer{ // the client may be gone
		LicenseID: it.id, InstallID: install, Keys: p.keys, Status: p.status,
		License: p.sign("license+jwt", payload), Time: p.sign("license-time+jwt", stamp),
	})
}

func (p *prototype) sign(typ string, payload []byte) string {
	buf := make([]byte, 0, 2*len(payload)+256)
	buf = append(buf, p.headers[typ]...)
	buf = b64.AppendEncode(buf, payload)
	sig := ed25519.Sign(p.key, buf)
	buf = append(buf, '.')
	return string(b64.AppendEncode(buf, sig))
}

// callback sets the end of a licence as a marketplace says.
func (p *prototype) callback(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = p.renew(r, body)
	}
	result := struct {
		Code string `json:"resultCode"`
		Msg  string `json:"resultMsg"`
	}{"000000", "success"}
	if err != nil {
		result.Code, result.Msg = "000005", err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(result) // the caller may be gone
}

func (p *prototype) renew(r *http.Request, body []byte) error {
	q := r.URL.Query()
	nonce, timestamp := q.Get("nonce"), q.Get("timestamp")
	ms, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return err
	}
	signature, err := hex.DecodeString(q.Get("signature"))
	if err != nil {
		return err
	}
	if time.Since(time.UnixMilli(ms)).Abs() > time.Minute || !hmac.Equal(signature, p.mac(nonce, timestamp, body)) {
		return errForged
	}
	var msg struct {
		Activity   string `json:"activity"`
		ExpireTime string `json:"expireTime"`
		License    string `json:"license"`
		OrderID    string `json:"orderId"`
		Scene      string `json:"scene"`
		TestFlag   string `json:"testFlag"`
	}
	if err := json.Unmarshal(body, &msg); err != nil {
		return err
	}
	if _, err := time.Parse("20060102150405", msg.ExpireTime); err != nil {
		return err
	}
	it := p.items[p.digest(msg.License)]
	if it == nil {
		return errUnknown
	}
	return p.commit(func(b *page) error {
		id := b[codes].Get(it.index)
		switch {
		case b[marks].Get(it.mark) != nil:
			return errReplayed
		case id == nil || b[licenses].Get(id) == nil:
			return errUnknown
		}
		return b.write(it.puts)
	})
}

// mac is the signature of a callback (docs/protocol.md).
func (p *prototype) mac(nonce, timestamp string, body []byte) []byte {
	h := p.macs.Get().(hash.Hash)
	defer p.macs.Put(h)
	h.Reset()
	h.Write(body)
	inner := hex.EncodeToString(h.Sum(nil))
	h.Reset()
	h.Write(bytes.Join([][]byte{[]byte(accessKey), []byte(nonce), []byte(timestamp), []byte(inner)}, nil))
	return h.Sum(nil)
}

// keySet answers what is always the same.
func (p *prototype) keySet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwt")
	_, _ = io.WriteString(w, p.keys) // the client may be gone
}
