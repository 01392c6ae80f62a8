package httpapi

// Limiter is the limiter.
type Limiter = limiter

// NewLimiter shows the limiter to the tests.
var NewLimiter = newLimiter

// Begin shows its method.
var Begin = (*limiter).begin

// MaxAddrs is how many addresses are counted apart.
const MaxAddrs = maxAddrs
