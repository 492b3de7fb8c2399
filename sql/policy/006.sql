-- plans.linger_s had no effect before; what stands there is what every plan began with. -1: as keyd's session.linger_s says.
UPDATE plans SET linger_s = -1 WHERE linger_s = 900;
