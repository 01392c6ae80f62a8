package adminwire

import "time"

// Paths and headers of access to the admin API.
const (
	PathTokens      = Prefix + "/tokens"
	PathRevokeToken = Prefix + "/tokens/{token}/revoke"
	PathSelf        = Prefix + "/self"

	// HeaderKey makes a call once: the same key and the same call get the same answer.
	HeaderKey = "Idempotency-Key"
	// HeaderReplayed says that an answer was given before.
	HeaderReplayed = "Idempotency-Replayed"
	// HeaderDryRun says that nothing was changed.
	HeaderDryRun = "Dry-Run"
	// QueryDryRun asks for that.
	QueryDryRun = "dry_run"
)

// CreateToken asks for a token.
type CreateToken struct {
	Name     string   `json:"name" maxLength:"64" doc:"What the audit log calls whoever uses it."`
	Role     string   `json:"role" maxLength:"16" doc:"viewer, issuer or admin."`
	Products []string `json:"products,omitempty" maxItems:"100" doc:"Ids of the products that it sees and changes; none for all."`
	For      string   `json:"for,omitempty" maxLength:"32" doc:"How long it is valid, such as 90d, which is the default; at most 400d."`
}

// Token is a token as it is shown.
type Token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Role      string     `json:"role" doc:"viewer, issuer or admin."`
	Products  []string   `json:"products" doc:"The products that it is for; empty for all."`
	State     string     `json:"state" doc:"live, expired or revoked."`
	Token     string     `json:"token,omitempty" doc:"The text of the token, only in the answer that makes it."`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by,omitempty"`
	ExpiresAt time.Time  `json:"expires_at"`
	LastUsed  *time.Time `json:"last_used" doc:"To the hour; null for one that was never used."`
	RevokedAt *time.Time `json:"revoked_at"`
}

// TokenList is all tokens, the oldest first.
type TokenList struct {
	Tokens []Token `json:"tokens"`
}

// TokenRevoked says what became of a token.
type TokenRevoked struct {
	Token   Token `json:"token"`
	Changed bool  `json:"changed" doc:"False for one that was revoked before."`
}

// Self is who calls.
type Self struct {
	ID       string   `json:"id" doc:"Of the token, or of the user of the socket."`
	Name     string   `json:"name" doc:"By which the audit log calls it."`
	Role     string   `json:"role" doc:"viewer, issuer or admin."`
	Products []string `json:"products" doc:"The products that it sees and changes; empty for all."`
}
