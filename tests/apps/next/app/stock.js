'use client';
import { useEffect, useState } from 'react';
export default function Stock() {
  const [stock, set] = useState(null);
  useEffect(() => { fetch('/api/stock').then(a => a.json()).then(set); }, []);
  return <p id="stock">{stock ? stock.items + ' for ' + stock.user : '...'}</p>;
}
