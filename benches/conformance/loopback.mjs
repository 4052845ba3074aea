// Loaded before the suite's server, which would listen on every address of this machine: keeps it on loopback.

import http from 'node:http'

const listen = http.Server.prototype.listen
http.Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, Number(port), '127.0.0.1', ...rest)
}
