package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// document is what is served from memory until it changes. Its ETag is that of
// its bytes (RFC 9110 section 8.8.3).
type document struct {
	contentType, maxAge []string // values of headers, made once; nobody changes them
	plain               variant
	// packed is plain in gzip form, made when it is first asked for; nil where
	// that is not offered.
	packed func() variant
}

type variant struct {
	body         []byte
	etag, length []string
}

func newVariant(body []byte) variant {
	sum := sha256.Sum256(body)
	return variant{
		body: body, etag: []string{`"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}, length: []string{strconv.Itoa(len(body))},
	}
}

func newDocument(contentType string, maxAge time.Duration, body []byte) *document {
	return &document{
		contentType: []string{contentType}, maxAge: []string{"public, max-age=" + strconv.Itoa(int(maxAge/time.Second))}, plain: newVariant(body),
	}
}

// Values of headers that are always the same.
var (
	varyPacked  = []string{"Accept, Accept-Encoding"}
	encodedGzip = []string{"gzip"}
	anyOrigin   = []string{"*"}
)

// pack offers the document in gzip form too. Of a token, which is base64 of what
// was compressed before, that takes back most of what base64 adds.
func (d *document) pack() *document {
	d.packed = sync.OnceValue(func() variant {
		var buf bytes.Buffer
		w, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression) // the level is one
		_, _ = w.Write(d.plain.body)                            // a Buffer takes everything
		_ = w.Close()
		return newVariant(buf.Bytes())
	})
	return d
}

func (d *document) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	v := d.plain
	if d.packed != nil {
		h["Vary"] = varyPacked
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			v = d.packed()
			h["Content-Encoding"] = encodedGzip
		}
	}
	h["Cache-Control"] = d.maxAge
	h["Etag"] = v.etag
	if matches(r.Header.Values("If-None-Match"), v.etag[0]) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"] = d.contentType
	h["Content-Length"] = v.length
	_, _ = w.Write(v.body) // the client may be gone
}

// matches reports whether an If-None-Match names the tag (RFC 9110 section
// 13.1.2: the weak comparison).
func matches(header []string, etag string) bool {
	for _, line := range header {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// acceptsGzip reports whether an Accept-Encoding takes gzip (RFC 9110 section
// 12.5.3); one that is absent takes the document as it is.
func acceptsGzip(header []string) bool {
	named, others := -1.0, -1.0 // -1: not there
	for _, line := range header {
		for part := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(part, ";")
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				named = quality(params)
			case "*":
				others = quality(params)
			}
		}
	}
	if named >= 0 {
		return named > 0
	}
	return others > 0
}

// quality is the weight that the parameters of a coding give it; 1 where they
// give none, 0 where it cannot be read.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || q < 0 || q > 1 {
			return 0
		}
		return q
	}
	return 1
}

// ofKeySet serves a document that changes only with the key set.
type ofKeySet struct {
	source      func(token.KeySet) ([]byte, error)
	key         func() (token.KeySet, error)
	contentType string
	now         atomic.Pointer[keySetDocument]
}

type keySetDocument struct {
	*document
	of string // the key set that it was made from
}

// keysMaxAge is how long a copy of the key set may be used.
const keysMaxAge = 5 * time.Minute

func (c *ofKeySet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	set, err := c.key()
	if err != nil {
		operation.WriteProblem(w, r, err)
		return
	}
	d := c.now.Load()
	if d == nil || d.of != set.Raw {
		body, err := c.source(set)
		if err != nil {
			operation.WriteProblem(w, r, err)
			return
		}
		d = &keySetDocument{newDocument(c.contentType, keysMaxAge, body), set.Raw}
		c.now.Store(d)
	}
	d.serve(w, r)
}

// statusLists serves the status lists from memory: nobody who asks reaches the
// store.
type statusLists struct {
	authority *authority.Authority
	prefix    string   // of the path; the id of the list follows
	documents sync.Map // by id: *statusDocument
}

type statusDocument struct {
	*document
	of *authority.StatusList
}

func (s *statusLists) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	list, err := s.authority.StatusList(r.Context(), strings.TrimPrefix(r.URL.Path, s.prefix))
	if err != nil {
		operation.WriteProblem(w, r, err)
		return
	}
	// A verifier in a browser may fetch it from any site; it is public.
	w.Header()["Access-Control-Allow-Origin"] = anyOrigin
	if wantsFile(r.Header.Values("Accept")) {
		// Asked for by hand, for a machine without a network: it is made each time.
		set, err := s.authority.ServedKeySet()
		if err != nil {
			operation.WriteProblem(w, r, err)
			return
		}
		f := token.File{KeySets: []string{set.Raw}, Statuses: []string{list.Token}}
		w.Header()["Vary"] = varyPacked
		newDocument(wire.TypePEM, authority.StatusTTL, f.Marshal()).serve(w, r)
		return
	}
	v, _ := s.documents.Load(list.ID)
	d, _ := v.(*statusDocument)
	if d == nil || d.of != list {
		d = &statusDocument{newDocument(wire.TypeStatusList, authority.StatusTTL, []byte(list.Token)).pack(), list}
		s.documents.Store(list.ID, d)
	}
	d.serve(w, r)
}

// wantsFile reports whether an Accept names the form of a licence file.
func wantsFile(header []string) bool {
	for _, line := range header {
		for part := range strings.SplitSeq(line, ",") {
			media, params, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(media), wire.TypePEM) {
				return quality(params) > 0
			}
		}
	}
	return false
}
