// Package httpapi is the public API, version 1: it decodes requests of
// installs, calls the authority and encodes its answers.
package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/daemon/internal/refusals"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// Options of the public API. Authority is required.
type Options struct {
	Authority *authority.Authority
	Version   string // of the daemon, for the OpenAPI document
	// Limit counts refused requests; nil is no limit. Known installs are exempt.
	Limit *refusals.Limiter
}

// typeJWKS is the media type of a JWK set (RFC 7517 section 8.5).
const typeJWKS = "application/jwk-set+json"

// Register adds the public API to mux.
func Register(mux *http.ServeMux, o Options) huma.API {
	if o.Limit == nil {
		o.Limit = refusals.New(0, nil)
	}
	api := operation.New(mux, operation.Options{
		Title: "licensed", Version: o.Version, OpenAPIPath: "/openapi",
		Formats: map[string]huma.Format{wire.TypePEM: operation.LicenseFile},
	})
	s := &server{authority: o.Authority, limit: o.Limit}
	operation.Register(api, huma.Operation{
		OperationID: "request", Method: http.MethodPost, Path: wire.PathRequests,
		Summary: "Activate, refresh, transfer or deactivate an install",
		Description: "Takes a request signed by an install key, as JSON, as a LICENSE REQUEST PEM file, or as the text of its QR code in place of the file. " +
			"The answer is JSON, or a licence file with Accept: application/x-pem-file. The same bytes again get the same answer.",
		SkipValidateBody: true, // decoded once, strictly, and checked below
		Errors: []int{
			http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
			http.StatusTooManyRequests, http.StatusServiceUnavailable,
		},
	}, s.request)
	mux.Handle("GET "+wire.PathKeys, &ofKeySet{
		source: func(set token.KeySet) ([]byte, error) { return []byte(set.Raw), nil },
		key:    o.Authority.ServedKeySet, contentType: wire.TypeJWT,
	})
	mux.Handle("GET "+wire.PathJWKS, &ofKeySet{source: token.KeySet.JWKS, key: o.Authority.ServedKeySet, contentType: typeJWKS})
	prefix := strings.TrimSuffix(wire.PathStatus, "{list}")
	mux.Handle("GET "+prefix, &statusLists{authority: o.Authority, prefix: prefix})
	describe(api)
	return api
}

type server struct {
	authority *authority.Authority
	limit     *refusals.Limiter
}

type requestInput struct {
	Body wire.Request
}

type requestOutput struct {
	Body wire.Answer
}

func (s *server) request(ctx context.Context, in *requestInput) (*requestOutput, error) {
	addr := operation.ClientAddr(ctx)
	var out *requestOutput
	err := s.limit.Do(addr, func(knownOnly bool) (err error) {
		out, err = s.answer(ctx, in.Body, authority.Caller{Addr: addr, KnownOnly: knownOnly})
		return err
	})
	return out, err
}

func (s *server) answer(ctx context.Context, body wire.Request, caller authority.Caller) (*requestOutput, error) {
	if body.Request == "" {
		return nil, license.FieldErrorf("request", "a signed request is required")
	}
	code, err := body.BesideCode()
	if err != nil {
		return nil, err
	}
	ans, err := s.authority.Request(ctx, body.Request, code, caller)
	if err != nil {
		return nil, err
	}
	return &requestOutput{Body: wire.Answer(ans)}, nil
}
