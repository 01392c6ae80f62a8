package adminwire

import "time"

// Paths of the calls about the end of keys.
const (
	PathKeyRevocations = Prefix + "/keys/revocations"
	PathKeyKeep        = Prefix + "/keys/revocations/{kid}/keep"
	PathKeyAffected    = Prefix + "/keys/affected"
)

// KeyWarning is something about the keys that somebody has to see to.
type KeyWarning struct {
	Kind string     `json:"kind" doc:"key_set, signing_key, rotation, signer, revocation, key_folder, next_key or sealed_key"`
	Due  *time.Time `json:"due" doc:"When it comes to a head; null: it has."`
	Text string     `json:"text"`
}

// KeyRevocation is the end of a key that others may hold.
type KeyRevocation struct {
	KID     string     `json:"kid"`
	Role    string     `json:"role" doc:"What it was when it was marked: current, next, retired, pending or anchor."`
	Reason  string     `json:"reason"`
	AskedAt time.Time  `json:"asked_at"`
	EndedAt *time.Time `json:"ended_at" doc:"When a key set that ends it was installed; null: it counts still."`
	Seq     int64      `json:"seq,omitempty" doc:"Number of that key set."`
	Signs   bool       `json:"signs" doc:"It is the key that signs now."`
}

// KeyRevocations are the keys that were marked, those under way first.
type KeyRevocations struct {
	Revocations []KeyRevocation `json:"revocations"`
	Rotated     *Rotated        `json:"rotated,omitempty" doc:"Where the current key was marked and the next one took over at once."`
}

// RevokeKeys marks keys.
type RevokeKeys struct {
	Keys   []string `json:"keys" minItems:"1" maxItems:"64" doc:"Ids of signing keys, also such as were made for the next set, or of anchors."`
	Reason string   `json:"reason" maxLength:"2048"`
}

// KeyKept says whether a mark was taken away.
type KeyKept struct {
	KID     string `json:"kid"`
	Changed bool   `json:"changed"`
}

// AffectedInstall is an install whose licence ends with a key.
type AffectedInstall struct {
	InstallID   string     `json:"install_id"`
	LicenseID   string     `json:"license_id"`
	Product     string     `json:"product"`
	Customer    string     `json:"customer"`
	Order       string     `json:"order"`
	Channel     string     `json:"channel"`
	KID         string     `json:"kid" doc:"The key that ends its licence."`
	Guessed     bool       `json:"guessed,omitempty" doc:"The record is from before the key was noted: it follows from when the licence was made."`
	ByHand      bool       `json:"by_hand" doc:"What it was given last was carried to it: it reaches no server by itself."`
	Environment string     `json:"environment,omitempty"`
	SeenAt      time.Time  `json:"seen_at"`
	LeaseUntil  *time.Time `json:"lease_until" doc:"Until when it goes on if it hears of nothing; null: for ever."`
}

// AffectedList is a page of installs that must get a new licence.
type AffectedList struct {
	Installs []AffectedInstall `json:"installs"`
	Next     string            `json:"next" doc:"Where the next page begins; a page can be empty and not the last."`
}
