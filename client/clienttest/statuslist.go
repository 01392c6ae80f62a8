package clienttest

import "time"

const (
	statusTTL  = 15 * time.Minute
	statusLife = 72 * time.Hour
)
