package httpapi

import (
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/license/wire"
)

// describe adds to the OpenAPI document what is served by plain handlers.
func describe(api huma.API) {
	text := &huma.Schema{Type: huma.TypeString}
	for _, d := range []struct {
		id, path, summary, description string
		types                          []string
		refusals                       []int
	}{
		{
			"keys", wire.PathKeys, "The signed key set",
			"The signing keys in force, vouched for by an anchor: a JWT of typ license-keys+jwt.",
			[]string{wire.TypeJWT},
			nil,
		},
		{
			"jwks", wire.PathJWKS, "The same public keys as a plain JWK set",
			"For ordinary JOSE libraries (RFC 7517). It is not signed.",
			[]string{typeJWKS},
			nil,
		},
		{
			"status", wire.PathStatus, "A status list",
			"Which installs are revoked or suspended: an IETF Token Status List. Licences name the address. With Accept: application/x-pem-file " +
				"it is a licence file, with the key set that verifies it.",
			[]string{wire.TypeStatusList, wire.TypePEM},
			[]int{http.StatusNotFound, http.StatusServiceUnavailable},
		},
	} {
		op := &huma.Operation{
			OperationID: d.id, Method: http.MethodGet, Path: d.path, Summary: d.summary, Description: d.description,
			Responses: map[string]*huma.Response{
				strconv.Itoa(http.StatusOK):          {Description: "OK", Content: map[string]*huma.MediaType{}},
				strconv.Itoa(http.StatusNotModified): {Description: "The copy that If-None-Match names is the newest"},
			},
		}
		for _, media := range d.types {
			op.Responses[strconv.Itoa(http.StatusOK)].Content[media] = &huma.MediaType{Schema: text}
		}
		for _, status := range d.refusals {
			op.Responses[strconv.Itoa(status)] = &huma.Response{
				Description: http.StatusText(status), Content: map[string]*huma.MediaType{wire.TypeProblem: {}},
			}
		}
		if d.path == wire.PathStatus {
			op.Parameters = []*huma.Param{{Name: "list", In: "path", Required: true, Description: "Id of a list.", Schema: text}}
		}
		api.OpenAPI().AddOperation(op)
	}
}
