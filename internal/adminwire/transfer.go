package adminwire

// MoveOff frees the seat of one machine for another.
type MoveOff struct {
	Install string `json:"install,omitempty" maxLength:"128" doc:"An install on the machine that is left; may be absent where the licence is in use on one machine only."`
	Reason  string `json:"reason,omitempty" maxLength:"512"`
	Force   bool   `json:"force,omitempty" doc:"Approve it although the transfer policy refuses it; recorded."`
}

// MovedOff is a licence after a seat was freed.
type MovedOff struct {
	License License  `json:"license"`
	Changed bool     `json:"changed"`
	Forced  bool     `json:"forced" doc:"The transfer policy would have refused it."`
	Ended   []string `json:"ended" doc:"Ids of the installs that have ended."`
}
