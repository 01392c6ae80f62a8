package adminapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// registerTokens adds the calls about the tokens of the staff.
func (s *server) registerTokens(api huma.API) {
	operation.Register(api, get("tokens", adminwire.PathTokens, "List the tokens of the staff"), s.tokens)
	operation.Register(api, post("create-token", adminwire.PathTokens, "Make a token; its text is shown this once"), s.createToken)
	operation.Register(api, get("self", adminwire.PathSelf, "Who calls"), s.self)
	operation.Register(api, post("revoke-token", adminwire.PathRevokeToken, "End a token at once"), s.revokeToken)
}

func (s *server) shownToken(t authority.Token) adminwire.Token {
	return adminwire.Token{
		ID: t.ID, Name: t.Name, Role: string(t.Role), Products: append([]string{}, t.Products...), State: t.State(s.a.Now()),
		CreatedAt: t.CreatedAt.UTC(), CreatedBy: t.CreatedBy, ExpiresAt: t.ExpiresAt.UTC(), LastUsed: shownTime(t.LastUsed), RevokedAt: shownTime(t.RevokedAt),
	}
}

func (s *server) tokens(ctx context.Context, _ *empty) (*body[adminwire.TokenList], error) {
	list, err := s.a.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	out := adminwire.TokenList{Tokens: make([]adminwire.Token, 0, len(list))}
	for _, t := range list {
		out.Tokens = append(out.Tokens, s.shownToken(t))
	}
	return &body[adminwire.TokenList]{out}, nil
}

func (s *server) createToken(ctx context.Context, in *body[adminwire.CreateToken]) (*body[adminwire.Token], error) {
	n := authority.NewToken{Name: in.Body.Name, Role: authority.Role(in.Body.Role), Products: in.Body.Products}
	if in.Body.For != "" {
		var err error
		if n.For, err = s.span("for", in.Body.For, "90d"); err != nil {
			return nil, err
		}
	}
	t, text, err := s.a.CreateToken(ctx, actor(ctx), n)
	if err != nil {
		return nil, err
	}
	shown := s.shownToken(t)
	if !authority.DryRun(ctx) {
		shown.Token = text
	}
	return &body[adminwire.Token]{shown}, nil
}

func (s *server) revokeToken(ctx context.Context, in *struct {
	Token string `path:"token" maxLength:"64" doc:"Id of a token."`
},
) (*body[adminwire.TokenRevoked], error) {
	t, changed, err := s.a.RevokeToken(ctx, actor(ctx), in.Token)
	if err != nil {
		return nil, err
	}
	return &body[adminwire.TokenRevoked]{adminwire.TokenRevoked{Token: s.shownToken(t), Changed: changed}}, nil
}

func (s *server) self(ctx context.Context, _ *empty) (*body[adminwire.Self], error) {
	c := authority.CallOf(ctx)
	if c == nil {
		return nil, license.Errorf(license.Unauthorized, "nobody calls")
	}
	p := c.Principal
	return &body[adminwire.Self]{adminwire.Self{ID: p.ID, Name: p.Name, Role: string(p.Role), Products: append([]string{}, p.Products...)}}, nil
}
