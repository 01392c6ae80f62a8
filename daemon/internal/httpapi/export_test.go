package httpapi

// NewLimiter shows the limiter to the tests.
var NewLimiter = newLimiter

// Wait and Refused show its methods.
var (
	Wait    = (*limiter).wait
	Refused = (*limiter).refused
)

// MaxAddrs is how many addresses are counted apart.
const MaxAddrs = maxAddrs
