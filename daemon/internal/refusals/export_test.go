package refusals

// Begin shows its method.
var Begin = (*Limiter).begin

// MaxAddrs is how many addresses are counted apart.
const MaxAddrs = maxAddrs
